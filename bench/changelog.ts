/** Changelogs made to order: rows in, commits out, by the compactor's own writer and planner, into any store. */
import type { ParquetWriter } from "../compactor/parquet.ts";
import { openParquetWriter } from "../compactor/parquet.ts";
import { flushKey, planCommit, planCreate } from "../compactor/plan.ts";
import type { Commit } from "../shared/delta.ts";
import { encodeCommit } from "../shared/delta.ts";
import { commitKey } from "../shared/keys.ts";
import type { Op, Row } from "../shared/row.ts";
import type { SequenceNumber } from "../shared/sequence.ts";
import { parseSequence } from "../shared/sequence.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";

const SHARD = "shardId-00000000000000000001-00000001";
const MEMORY_MAX_MB = 256;

/** What happened, as a test or a bench says it. */
export type MadeChange = {
  readonly kind: "event" | "object" | "rejected";
  readonly source?: string;
  readonly collection: string;
  readonly id: string;
  readonly op?: Op;
  readonly event?: string;
  readonly userId?: string;
  readonly anonymousId?: string;
  /** The body or the properties; a text stands as it is. */
  readonly image?: unknown;
};

export type MadeChangelog = {
  readonly snapshot: () => Snapshot;
  /** One commit; no changes make an empty one. */
  readonly commit: (changes: readonly MadeChange[]) => Promise<void>;
  /** Puts an entry of the caller's own making on top. */
  readonly put: (commit: Commit, next: Snapshot) => Promise<void>;
  readonly close: () => Promise<void>;
};

const PREFIX = { event: "e", object: "o", rejected: "r" } as const;

export async function makeChangelog(
  store: ObjectStore,
  startMs: number,
  id = crypto.randomUUID(),
): Promise<MadeChangelog> {
  const writer: ParquetWriter = await openParquetWriter(MEMORY_MAX_MB);
  let nowMs = startMs;
  let sequence = 0;
  const put = async (commit: Commit): Promise<void> => {
    const body = new TextEncoder().encode(encodeCommit(commit));
    const outcome = await store.put(commitKey(commit.version), body, { kind: "if-absent" });
    if (outcome.kind !== "stored") throw new Error(`commit ${commit.version} was ${outcome.kind}`);
  };
  const created = planCreate(id, { txnId: crypto.randomUUID(), nowMs });
  await put(created.commit);
  let snapshot = created.next;

  const rowOf = (change: MadeChange): Row => {
    const { kind, source = "shop", collection, op = "insert" } = change;
    sequence += 1;
    const key =
      kind === "object" ? `o#${source}#${collection}#${change.id}` : `${PREFIX[kind]}#${source}#${change.id}`;
    const image = typeof change.image === "string" ? change.image : JSON.stringify(change.image ?? {});
    return {
      changedMs: nowMs,
      op,
      key: JSON.stringify({ pk: key }),
      seq: sequenceOf(sequence),
      shard: SHARD,
      changes: 1,
      kind,
      source,
      collection: kind === "event" && op === "delete" ? null : collection,
      id: change.id,
      userId: change.userId ?? null,
      anonymousId: change.anonymousId ?? null,
      event: change.event ?? null,
      eventMs: nowMs - 1000,
      image: op === "delete" ? null : image,
    };
  };

  return {
    snapshot: () => snapshot,
    commit: async (changes) => {
      nowMs += 1000;
      const from = snapshot.shards.get(SHARD)?.seq ?? null;
      const files = [];
      if (changes.length > 0) {
        const stage = await writer.stage();
        for (const change of changes) stage.add(rowOf(change));
        const start = windowStartMs(0, nowMs);
        const { bytes, ...file } = await stage.write(start, start + LEVEL_MS[0], []);
        await stage.close();
        const path = flushKey(start, crypto.randomUUID());
        await store.put(path, bytes, { kind: "if-absent" });
        files.push({
          path,
          level: 0,
          windowStartMs: start,
          sizeBytes: bytes.byteLength,
          minChangedMs: nowMs,
          file,
        } as const);
      }
      const seq = sequence === 0 ? null : sequenceOf(sequence);
      const position = { from, seq, at: nowMs, parent: null, done: false, stream: "made" };
      const plan = planCommit(
        snapshot,
        { files, positions: new Map([[SHARD, position]]), gaps: [], discoveredMs: nowMs },
        { txnId: crypto.randomUUID(), nowMs },
      );
      if (plan.kind !== "commit") throw new Error(plan.why);
      await put(plan.commit);
      snapshot = plan.next;
    },
    put: async (commit, next) => {
      await put(commit);
      snapshot = next;
    },
    close: () => writer.close(),
  };
}

function sequenceOf(number: number): SequenceNumber {
  const parsed = parseSequence(String(number));
  if (parsed === null) throw new Error(`${number} is no sequence number`);
  return parsed;
}
