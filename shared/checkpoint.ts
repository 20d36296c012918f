/**
 * Checkpoints: the log's state at a version as one Parquet file, so that opening a changelog costs what is
 * live and not how long it has run. Classic single-file checkpoints of the Delta protocol.
 *
 * Laws
 * - A checkpoint is a summary: deleting all of them loses nothing while the entries they cover are kept.
 * - `_last_checkpoint` only moves forward, by put-if-match.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Action } from "./delta.ts";
import { domainAction, parseActions } from "./delta.ts";
import { openDuckDB, sqlText } from "./duckdb.ts";
import { describeError, VarveError } from "./errors.ts";
import { LAST_CHECKPOINT_KEY, LOG_DIR, checkpointKey, commitKey, parseLogKey } from "./keys.ts";
import { encodePosition } from "./position.ts";
import type { Snapshot } from "./snapshot.ts";
import { GAP_DOMAIN, LOG_DOMAIN, restoreSnapshot } from "./snapshot.ts";
import type { ObjectStore } from "./store.ts";

/** Commits between two checkpoints. */
export const CHECKPOINT_EVERY = 30;
const MEMORY_MAX_MB = 256;

const LAST_CHECKPOINT = z.object({ version: z.number().int(), size: z.number().int() });

const MAP = "MAP(VARCHAR, VARCHAR)";
const COLUMNS: Readonly<Record<string, string>> = {
  txn: "STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)",
  add: `STRUCT(path VARCHAR, partitionValues ${MAP}, size BIGINT, modificationTime BIGINT, dataChange BOOLEAN, stats VARCHAR, tags ${MAP})`,
  remove: `STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, extendedFileMetadata BOOLEAN, partitionValues ${MAP}, size BIGINT)`,
  metaData: `STRUCT(id VARCHAR, name VARCHAR, description VARCHAR, format STRUCT(provider VARCHAR, options ${MAP}), schemaString VARCHAR, partitionColumns VARCHAR[], configuration ${MAP}, createdTime BIGINT)`,
  protocol: "STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER, writerFeatures VARCHAR[])",
  domainMetadata: "STRUCT(domain VARCHAR, configuration VARCHAR, removed BOOLEAN)",
};

/**
 * The actions that a snapshot comes to.
 * @param forgetBeforeMs removals from before this time are left out
 */
export function checkpointActions(snapshot: Snapshot, forgetBeforeMs: number): Action[] {
  return [
    { protocol: snapshot.protocol },
    { metaData: snapshot.metaData },
    ...[...snapshot.files.values()].map(({ add }) => ({ add: { ...add, dataChange: false } })),
    ...[...snapshot.removed]
      .filter(([, removedMs]) => removedMs >= forgetBeforeMs)
      .map(([path, deletionTimestamp]) => ({
        remove: { path, deletionTimestamp, dataChange: false },
      })),
    ...[...snapshot.shards].map(([shard, position]) => ({ domainMetadata: encodePosition(shard, position) })),
    ...[...snapshot.gaps].map(([name, gap]) => domainAction(GAP_DOMAIN + name, gap)),
    domainAction(LOG_DOMAIN, snapshot.log),
  ];
}

/** Writes the checkpoint of `snapshot`, and points `_last_checkpoint` at it unless that is further already. */
export async function writeCheckpoint(
  store: ObjectStore,
  snapshot: Snapshot,
  options: { readonly forgetBeforeMs?: number; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  const actions = checkpointActions(snapshot, options.forgetBeforeMs ?? 0);
  const body = await inScratch(async (dir, run) => {
    const input = join(dir, "actions.ndjson");
    const output = join(dir, "checkpoint.parquet");
    await writeFile(input, actions.map((action) => JSON.stringify(action)).join("\n"));
    const columns = Object.entries(COLUMNS).map(([name, type]) => `${name}: ${sqlText(type)}`);
    await run(
      `COPY (SELECT * FROM read_json(${sqlText(input)}, format = 'newline_delimited', maximum_object_size = 67108864, columns = {${columns.join(", ")}}))
       TO ${sqlText(output)} (FORMAT parquet, COMPRESSION snappy)`,
    );
    return readFile(output);
  });
  const put = await store.put(checkpointKey(snapshot.version), body, { kind: "always" }, signal);
  if (put.kind !== "stored")
    throw put.kind === "unknown" ? put.cause : new Error("the checkpoint was refused");

  const standing = await store.get(LAST_CHECKPOINT_KEY, signal);
  const standingVersion = standing === null ? -1 : (parseLast(standing.body)?.version ?? -1);
  if (standingVersion >= snapshot.version) return;
  const last = {
    version: snapshot.version,
    size: actions.length,
    sizeInBytes: body.byteLength,
    numOfAddFiles: snapshot.files.size,
  };
  const pointed = await store.put(
    LAST_CHECKPOINT_KEY,
    new TextEncoder().encode(JSON.stringify(last)),
    standing === null ? { kind: "if-absent" } : { kind: "if-match", etag: standing.etag },
    signal,
  );
  if (pointed.kind === "unknown") throw pointed.cause;
}

/** The snapshot of the last checkpoint; null when there is none that can be read. */
export async function readCheckpoint(store: ObjectStore, signal?: AbortSignal): Promise<Snapshot | null> {
  const last = await readLastCheckpoint(store, signal);
  return last === null ? null : readIfSound(store, last.version, signal);
}

/** How many are tried before it is taken that none can be read. */
const TRIES_MAX = 5;

/** The last checkpoint if it is above a version and can be read, or else the newest such; null when there is none. */
export async function newestCheckpoint(
  store: ObjectStore,
  above: number,
  signal?: AbortSignal,
): Promise<Snapshot | null> {
  const last = await readCheckpoint(store, signal);
  if (last !== null && last.version > above) return last;
  const versions: number[] = [];
  for await (const { key } of store.list(LOG_DIR, above < 0 ? undefined : commitKey(above), signal)) {
    const parsed = parseLogKey(key);
    if (parsed?.kind === "checkpoint" && parsed.version > above) versions.push(parsed.version);
  }
  for (const version of versions.toReversed().slice(0, TRIES_MAX)) {
    const snapshot = await readIfSound(store, version, signal);
    if (snapshot !== null) return snapshot;
  }
  return null;
}

/** As `readCheckpointAt`, but null also when it cannot be read. */
export async function readIfSound(
  store: ObjectStore,
  version: number,
  signal?: AbortSignal,
): Promise<Snapshot | null> {
  try {
    return await readCheckpointAt(store, version, signal);
  } catch (error) {
    if (error instanceof VarveError && error.code === "bad_checkpoint") return null;
    throw error;
  }
}

/** The snapshot of the checkpoint of a version; null when there is none, or it is not whole. Throws `bad_checkpoint`. */
export async function readCheckpointAt(
  store: ObjectStore,
  version: number,
  signal?: AbortSignal,
): Promise<Snapshot | null> {
  const object = await store.get(checkpointKey(version), signal);
  if (object === null) return null;
  try {
    return restoreSnapshot(version, parseActions(version, await linesOf(object.body)));
  } catch (error) {
    throw new VarveError(
      "bad_checkpoint",
      `the checkpoint of version ${version} cannot be read: ${describeError(error)}`,
      "It is a summary that another one or the log stands in for; `varve verify` says whether all of them do.",
      error,
    );
  }
}

/** Its actions, as lines of an entry. */
const linesOf = (checkpoint: Uint8Array): Promise<string[]> =>
  inScratch(async (dir, run) => {
    const input = join(dir, "checkpoint.parquet");
    await writeFile(input, checkpoint);
    const names = Object.keys(COLUMNS).filter((name) => name !== "txn");
    const chosen = names.map(
      (name) => `WHEN ${name} IS NOT NULL THEN json_object(${sqlText(name)}, to_json(${name}))`,
    );
    const rows = await run(
      `SELECT CASE ${chosen.join(" ")} END::VARCHAR FROM read_parquet(${sqlText(input)}) WHERE txn IS NULL`,
    );
    return rows.map(([line]) => line as string);
  });

/** What `_last_checkpoint` says; null when there is none that can be read. */
export async function readLastCheckpoint(
  store: ObjectStore,
  signal?: AbortSignal,
): Promise<{ readonly version: number } | null> {
  const pointer = await store.get(LAST_CHECKPOINT_KEY, signal);
  return pointer === null ? null : parseLast(pointer.body);
}

function parseLast(body: Uint8Array): z.infer<typeof LAST_CHECKPOINT> | null {
  try {
    return LAST_CHECKPOINT.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch {
    return null;
  }
}

type Run = (sql: string) => Promise<readonly (readonly unknown[])[]>;

async function inScratch<T>(work: (dir: string, run: Run) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "varve-checkpoint-"));
  const { connection, close } = await openDuckDB({
    threads: 1,
    memoryMaxMB: MEMORY_MAX_MB,
    spillDir: join(dir, "spill"),
  });
  try {
    return await work(dir, async (sql) => (await connection.runAndReadAll(sql)).getRows());
  } finally {
    close();
    await rm(dir, { recursive: true, force: true });
  }
}
