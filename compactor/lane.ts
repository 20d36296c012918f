/**
 * A lane: some shards, read into one window buffer and written to data files. A process has one lane a core;
 * what leaves a lane is only what the commit needs. Lanes know nothing of the log.
 *
 * Laws
 * - Batches leave a lane in the order their rows were read, one at a time.
 * - After `reset` nothing that was read before it leaves.
 */
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import type { Position } from "../shared/position.ts";
import type { Gap } from "../shared/snapshot.ts";
import { turnstile } from "../shared/turnstile.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVEL_MS } from "../shared/window.ts";
import type { Batch, ShardPage } from "./buffer.ts";
import { WindowBuffer } from "./buffer.ts";
import type { Start } from "./lineage.ts";
import type { CompactorLog, Patience } from "./patience.ts";
import type { UploadedFile } from "./plan.ts";
import { flushKey } from "./plan.ts";
import { readShard } from "./shard.ts";
import type { OpenStage } from "./stage.ts";
import type { Streams } from "./stream.ts";

/** The buffer may hold this many flushes' bytes while one is being written; then reading waits. */
const BUFFERED_FLUSHES_MAX = 2;
const ROOM_POLL_MS = 50;
/** Polls further apart than this part of a flush would leave many of its rows above the watermark. */
const POLL_OF_FLUSH = 1 / 50;

export type LaneBatch = {
  readonly files: readonly UploadedFile[];
  readonly positions: ReadonlyMap<string, Position>;
  readonly gaps: readonly Gap[];
  readonly records: number;
  /** Rows of events that the edge has rejected. */
  readonly rejectedRows: number;
};

export type Lane = {
  /** The shards to read from now on, and where each starts that is not being read yet. */
  readonly assign: (shards: ReadonlyMap<string, Start>) => Promise<void>;
  /**
   * What was read, as files in the store. Null when nothing is due yet, unless it is `forced`.
   * Rejects with what ended a reader for good.
   */
  readonly take: (forced: boolean) => Promise<LaneBatch | null>;
  /** Stops reading and forgets all that was read. */
  readonly reset: () => Promise<void>;
  /** Stops reading; what was read can still be taken. */
  readonly stop: () => Promise<void>;
  readonly close: () => Promise<void>;
  /** Calls it whenever what was read has become a flush's bytes, and so is due before its time. */
  readonly onFull: (listener: () => void) => void;
  /** Bytes of answers whose rows are not committed yet. */
  readonly bufferedBytes: () => number;
};

export type LaneDeps = {
  readonly store: ObjectStore;
  readonly streams: Streams;
  readonly openStage: OpenStage;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly patience: Patience;
  readonly flushMs: number;
  readonly flushBytes: number;
  /** Calls to GetRecords under way at once: answers are up to a megabyte, and several times that once parsed. */
  readonly answersMax: number;
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
};

type Reader = { readonly stop: AbortController; readonly ended: Promise<void> };

export async function openLane(deps: LaneDeps): Promise<Lane> {
  const { clock, log, openStage } = deps;
  let buffer = new WindowBuffer(openStage());
  const readers = new Map<string, Reader>();
  /** Those of its shards that are known to take no more records. */
  let closed: ReadonlySet<string> = new Set();
  const turn = turnstile(deps.answersMax);
  let fault: unknown;
  let full = (): void => {};
  const isFull = ({ bytes }: WindowBuffer): boolean => bytes >= deps.flushBytes;
  const confirms = deps.pollMinMs > deps.flushMs * POLL_OF_FLUSH;

  const start = (shard: string, position: Position): void => {
    const stop = new AbortController();
    const into = buffer;
    const accept = async (page: ShardPage): Promise<void> => {
      if (stop.signal.aborted) return;
      const wasFull = isFull(into);
      into.add(page, clock.nowMs());
      if (!wasFull && isFull(into)) full();
    };
    // Answers are asked for only while there is room for them, so that what is held is bounded.
    const getRecords: Streams["getRecords"] = (iterator, signal) =>
      turn(async () => {
        while (buffer.bytes > deps.flushBytes * BUFFERED_FLUSHES_MAX && !stop.signal.aborted) {
          await clock.sleep(ROOM_POLL_MS, stop.signal);
        }
        return deps.streams.getRecords(iterator, signal);
      }, stop.signal);
    const streams = { ...deps.streams, getRecords };
    const warn = (what: string) => log.warn(what, { shard });
    const from = { position, isClosed: () => closed.has(shard) };
    const ended = readShard({ ...deps, streams, confirms, accept, warn }, shard, from, stop.signal).catch(
      (error: unknown) => {
        fault ??= error;
      },
    );
    readers.set(shard, { stop, ended });
  };

  const halt = async (shards: readonly string[]): Promise<void> => {
    const halted = shards.flatMap((shard) => readers.get(shard) ?? []);
    for (const { stop } of halted) stop.abort();
    await Promise.all(halted.map(({ ended }) => ended));
    for (const shard of shards) readers.delete(shard);
  };

  return {
    assign: async (shards) => {
      await halt([...readers.keys()].filter((shard) => !shards.has(shard)));
      closed = new Set([...shards].filter(([, from]) => from.closed).map(([shard]) => shard));
      for (const [shard, { position }] of shards) {
        // What an earlier reader of the shard left must be taken first: it goes on from there.
        if (!readers.has(shard) && !buffer.holds(shard)) start(shard, position);
      }
    },
    take: async (forced) => {
      if (fault !== undefined && !buffer.hasRows) throw fault;
      const first = buffer.firstRowAtMs;
      const due =
        forced ||
        fault !== undefined ||
        (first !== null && hasPassed(clock.nowMs(), first, deps.flushMs)) ||
        isFull(buffer) ||
        buffer.urgent;
      if (!due) return null;
      const from = buffer;
      const batch = from.take(openStage());
      const files = await upload(deps, batch);
      if (files === null || from !== buffer) return null;
      const { positions, gaps, records, rejectedRows } = batch;
      return { files, positions, gaps, records, rejectedRows };
    },
    reset: async () => {
      const dropped = buffer;
      buffer = new WindowBuffer(openStage());
      await halt([...readers.keys()]);
      dropped.close();
    },
    stop: () => halt([...readers.keys()]),
    close: async () => {
      await halt([...readers.keys()]);
      buffer.close();
    },
    onFull: (listener) => {
      full = listener;
    },
    bufferedBytes: () => buffer.bytes,
  };
}

/** Writes a file a window and uploads it under a name never used before. Null when patience ran out. */
async function upload(deps: LaneDeps, batch: Batch): Promise<UploadedFile[] | null> {
  try {
    return await writeFiles(deps, batch);
  } finally {
    batch.stage.close();
  }
}

async function writeFiles(deps: LaneDeps, batch: Batch): Promise<UploadedFile[] | null> {
  const files: UploadedFile[] = [];
  for (const [windowStartMs, { minChangedMs }] of batch.windows) {
    const endMs = windowStartMs + LEVEL_MS[0];
    const { bytes, ...file } = await batch.stage.write(windowStartMs, endMs);
    const path = flushKey(windowStartMs, deps.clock.uuid());
    const stored = await deps.patience.persist(`uploading ${path}`, async () => {
      const put = await deps.store.put(path, bytes, { kind: "always" }, deps.patience.giveUp);
      if (put.kind === "stored") return true;
      throw put.kind === "unknown" ? put.cause : new Error("the store refused it");
    });
    if (stored === null) return null;
    files.push({ path, level: 0, windowStartMs, sizeBytes: bytes.byteLength, minChangedMs, file });
  }
  return files;
}
