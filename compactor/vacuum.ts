/** Deleting data files that are in no live commit. */
import { DATA_DIR } from "../shared/keys.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ListedObject, ObjectStore } from "../shared/store.ts";

export type VacuumOptions = {
  /** Files that a commit removed before this time. */
  readonly removedBeforeMs: number;
  /** Files in no commit that were written before this time. */
  readonly orphanBeforeMs: number;
  readonly dryRun: boolean;
  readonly signal?: AbortSignal;
};

export type Vacuumed = {
  readonly files: readonly ListedObject[];
  readonly bytes: number;
  readonly kept: number;
};

/** Whether a listed file can go. Pure. */
export function isGarbage(
  { key, modifiedMs }: ListedObject,
  { files, removed }: Snapshot,
  { removedBeforeMs, orphanBeforeMs }: VacuumOptions,
): boolean {
  if (files.has(key)) return false;
  const removedMs = removed.get(key);
  return removedMs === undefined ? modifiedMs < orphanBeforeMs : removedMs < removedBeforeMs;
}

export async function vacuum(
  store: ObjectStore,
  snapshot: Snapshot,
  options: VacuumOptions,
): Promise<Vacuumed> {
  const garbage: ListedObject[] = [];
  let kept = 0;
  for await (const object of store.list(DATA_DIR, undefined, options.signal)) {
    if (isGarbage(object, snapshot, options)) garbage.push(object);
    else kept += 1;
  }
  if (!options.dryRun) for (const { key } of garbage) await store.delete(key, options.signal);
  return { files: garbage, bytes: garbage.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), kept };
}
