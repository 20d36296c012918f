/** `varve vacuum`: deletes data files that no commit names any more. */
import { vacuum } from "../compactor/vacuum.ts";
import { openChangelog } from "../reader/changelog.ts";
import { many } from "../shared/amounts.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";

export type VacuumArguments = {
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly removedMs: number;
  readonly orphanMs: number;
};

export async function vacuumCommand(
  store: ObjectStore,
  { dryRun, json, removedMs, orphanMs }: VacuumArguments,
  output: Output,
  nowMs: number,
): Promise<void> {
  const changelog = await openChangelog(store);
  const snapshot = await changelog.snapshot();
  const options = { dryRun, removedBeforeMs: nowMs - removedMs, orphanBeforeMs: nowMs - orphanMs };
  const { files, bytes, kept } = await vacuum(store, snapshot, options);
  for (const { key, sizeBytes } of files) {
    await output.line(
      json ? JSON.stringify({ path: key, bytes: sizeBytes }) : `${String(sizeBytes).padStart(12)}  ${key}`,
    );
  }
  output.note(
    `${many(files.length, "file")}, ${many(bytes, "byte")} ${dryRun ? "would be deleted" : "deleted"}; ${kept} kept`,
  );
}
