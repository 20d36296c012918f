/**
 * A changelog to read, without a table: real Parquet files and real log entries, laid down commit by commit as the
 * compactor would. Rows are given one by one, or made by a query.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duckdbEngine } from "../compactor/merge-engine.ts";
import { openMerger } from "../compactor/merge.ts";
import { NO_METRICS } from "../compactor/metrics.ts";
import type { UploadedFile } from "../compactor/plan.ts";
import { flushKey, planCommit, planCreate } from "../compactor/plan.ts";
import { openStages } from "../compactor/stage.ts";
import { summarize } from "../compactor/summary.ts";
import { systemClock } from "../shared/clock.ts";
import type { Commit } from "../shared/delta.ts";
import { encodeCommit } from "../shared/delta.ts";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { commitKey } from "../shared/keys.ts";
import type { Row } from "../shared/row.ts";
import type { SequenceNumber } from "../shared/sequence.ts";
import { SEQUENCE_DIGITS_MAX, parseSequence } from "../shared/sequence.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";

export type GivenRow = Partial<Row> & Pick<Row, "changedMs" | "key">;

export type Laid = {
  readonly snapshot: () => Snapshot;
  /** One commit, a file for each window of its rows. W comes to `watermarkMs`. */
  readonly commit: (rows: readonly GivenRow[], watermarkMs: number) => Promise<Snapshot>;
  /** One commit of one file: objects of one window, by a query over range(count) as `i`. */
  readonly commitQuery: (query: LaidQuery) => Promise<Snapshot>;
  /** Any commit, as it is. */
  readonly put: (commit: Commit, next: Snapshot) => Promise<Snapshot>;
  /** Merges all that W has passed. */
  readonly merge: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export type LaidQuery = {
  readonly count: number;
  /** SQL over `i`. */
  readonly columns: {
    readonly changedMs: string;
    readonly collection: string;
    readonly id: string;
    readonly image: string;
  };
  readonly watermarkMs: number;
  readonly rowGroupRows?: number;
};

const LAID_SHARD = "shardId-00000000000000000001-00000001";
const MEMORY_MAX_MB = 512;
const SPARE_BYTES_MAX = 32 * 1024 ** 2;

export const seq = (n: number): SequenceNumber => parseSequence(String(n)) ?? ("0" as SequenceNumber);

export async function layDown(store: ObjectStore, startMs: number): Promise<Laid> {
  const dir = await mkdtemp(join(tmpdir(), "varve-laid-"));
  const openStage = openStages(SPARE_BYTES_MAX);
  const { connection, close } = await openDuckDB({
    threads: 2,
    memoryMaxMB: MEMORY_MAX_MB,
    spillDir: join(dir, "spill"),
  });
  let nowMs = startMs;
  let files = 0;
  let rows = 0;

  const put = async (commit: Commit, next: Snapshot): Promise<Snapshot> => {
    const body = new TextEncoder().encode(encodeCommit(commit));
    const outcome = await store.put(commitKey(commit.version), body, { kind: "if-absent" });
    if (outcome.kind !== "stored") throw new Error(`version ${commit.version} is ${outcome.kind}`);
    snapshot = next;
    return next;
  };
  const upload = async (
    bytes: Uint8Array,
    minChangedMs: number,
    file: UploadedFile["file"],
  ): Promise<UploadedFile> => {
    const start = windowStartMs(0, minChangedMs);
    const path = flushKey(start, `f${(files += 1)}`);
    await store.put(path, bytes, { kind: "always" });
    return { path, level: 0, windowStartMs: start, sizeBytes: bytes.byteLength, minChangedMs, file };
  };
  const commitFiles = (
    uploaded: readonly UploadedFile[],
    last: number,
    watermarkMs: number,
  ): Promise<Snapshot> => {
    const from = snapshot.shards.get(LAID_SHARD)?.seq ?? null;
    const position = {
      from,
      seq: last === 0 ? null : seq(last),
      at: watermarkMs,
      parent: null,
      done: false,
      stream: "arn:aws:dynamodb:us-east-1:0:table/laid/stream/1",
    };
    nowMs = Math.max(nowMs + 1, watermarkMs);
    const plan = planCommit(
      snapshot,
      { files: uploaded, positions: new Map([[LAID_SHARD, position]]), gaps: [], discoveredMs: watermarkMs },
      { txnId: `t${snapshot.version + 1}`, nowMs },
    );
    if (plan.kind === "stale") throw new Error(plan.why);
    return put(plan.commit, plan.next);
  };

  const created = planCreate("laid", { txnId: "t0", nowMs });
  let snapshot = created.next;
  await put(created.commit, created.next);
  const merger = openMerger({
    store,
    clock: systemClock,
    log: { info: () => {}, warn: (what, fields) => console.error(what, fields) },
    metrics: NO_METRICS,
    engine: duckdbEngine(MEMORY_MAX_MB),
  });
  return {
    snapshot: () => snapshot,
    put,
    merge: () =>
      merger.run({
        snapshot: () => snapshot,
        owns: () => true,
        forgetRemoved: () => {},
        commit: async (plan) => {
          nowMs += 1;
          const planned = plan(snapshot, { txnId: `t${snapshot.version + 1}`, nowMs });
          if (planned.kind === "stale") return planned;
          await put(planned.commit, planned.next);
          return { kind: "committed" };
        },
        signal: new AbortController().signal,
      }),
    commit: async (given, watermarkMs) => {
      const whole = given.map((some): Row => ({ ...BARE, seq: seq((rows += 1)), ...some }));
      const uploaded: UploadedFile[] = [];
      for (const [start, group] of Map.groupBy(whole, ({ changedMs }) => windowStartMs(0, changedMs))) {
        const stage = openStage();
        for (const row of group) stage.add(row);
        const { bytes, ...file } = await stage.write(start, start + LEVEL_MS[0]);
        stage.close();
        const least = group.reduce((ms, { changedMs }) => Math.min(ms, changedMs), Infinity);
        uploaded.push(await upload(bytes, least, file));
      }
      return commitFiles(uploaded, rows, watermarkMs);
    },
    commitQuery: async ({ count, columns, watermarkMs, rowGroupRows = 122_880 }) => {
      const path = join(dir, "batch.parquet");
      await connection.run(
        `COPY (SELECT make_timestamptz(changed_ms * 1000) AS changed_at, * FROM (
           SELECT (${columns.changedMs})::BIGINT AS changed_ms, 'insert' AS op,
             '{"pk":"o#shop#' || (${columns.collection}) || '#' || (${columns.id}) || '"}' AS key,
             lpad((i + ${rows} + 1)::VARCHAR, ${SEQUENCE_DIGITS_MAX}, '0') AS seq, ${sqlText(LAID_SHARD)} AS shard,
             1::BIGINT AS changes, 'object' AS kind, 'shop' AS source, (${columns.collection}) AS collection,
             (${columns.id}) AS id, NULL::VARCHAR AS user_id, NULL::VARCHAR AS anonymous_id, NULL::VARCHAR AS event,
             make_timestamptz((${columns.changedMs})::BIGINT * 1000) AS event_at, (${columns.image}) AS image
           FROM range(${count}) numbers(i)
         ) ORDER BY source, collection, id, key, seq)
         TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroupRows})`,
      );
      rows += count;
      const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
      const bytes = await readFile(path);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const stats = JSON.parse(summary.stats) as { readonly minValues: { readonly changed_ms: number } };
      const file = await upload(bytes, stats.minValues.changed_ms, { ...summary, sha256 });
      return commitFiles([file], rows, watermarkMs);
    },
    close: async () => {
      close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const BARE: Omit<Row, "changedMs" | "key" | "seq"> = {
  op: "insert",
  shard: LAID_SHARD,
  changes: 1,
  kind: null,
  source: "shop",
  collection: null,
  id: null,
  userId: null,
  anonymousId: null,
  event: null,
  eventMs: null,
  image: null,
};

/** An object of a collection, changed at a time. */
export const object = (
  collection: string,
  id: string,
  changedMs: number,
  some: Partial<Row> = {},
): GivenRow => ({
  changedMs,
  key: JSON.stringify({ pk: `o#shop#${collection}#${id}` }),
  kind: "object",
  collection,
  id,
  image: JSON.stringify({ id, n: changedMs }),
  ...some,
});
