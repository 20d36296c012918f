/** `varve files`: the live data files. */
import { openChangelog } from "../reader/changelog.ts";
import { completeUpTo, iso } from "../reader/range.ts";
import { many } from "../shared/amounts.ts";
import type { Presigner } from "../shared/aws/presign.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";

export type FilesArguments = {
  readonly json: boolean;
  /** Gives each file its `url`. */
  readonly presign?: Presigner | undefined;
};

export async function filesCommand(
  store: ObjectStore,
  /** What paths are relative to: `s3://bucket/prefix`, or a directory. */
  root: string,
  { json, presign }: FilesArguments,
  output: Output,
  nowMs: number,
): Promise<void> {
  const changelog = await openChangelog(store);
  const files = await changelog.files();
  const snapshot = await changelog.snapshot();
  if (!json)
    await output.line(`LEVEL  ${"WINDOW".padEnd(24)}  ${"ROWS".padStart(10)}  ${"BYTES".padStart(12)}  PATH`);
  for (const file of files) {
    const columns = {
      path: `${root}/${file.path}`,
      level: file.level,
      window: iso(file.windowStartMs),
      rows: file.totals.rows,
      changes: file.changes,
      bytes: file.sizeBytes,
      min_changed_at: iso(file.minChangedMs),
      max_changed_at: iso(file.maxChangedMs),
      setsum: file.totals.sum,
      sha256: file.sha256,
      complete_up_to: iso(snapshot.log.watermarkMs),
      ...(presign === undefined ? {} : { url: await presign(file.path, nowMs) }),
    };
    await output.line(
      json
        ? JSON.stringify(columns)
        : `${String(file.level).padEnd(5)}  ${columns.window}  ${String(columns.rows).padStart(10)}  ${String(columns.bytes).padStart(12)}  ${file.path}`,
    );
  }
  const { rows } = snapshot.live;
  output.note(
    `${many(files.length, "file")}, ${many(rows, "row")} at version ${snapshot.version}, ${completeUpTo(snapshot.log.watermarkMs)}`,
  );
  for (const gap of snapshot.gaps.values()) {
    output.note(
      `gap: ${gap.shard} after ${gap.after ?? "its start"}: ${gap.reason} (met ${iso(gap.detectedMs)})`,
    );
  }
}
