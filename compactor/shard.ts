/**
 * Reading one shard: pages in order, from its position to its end.
 *
 * Laws
 * - A record at or before the position is passed over: an answer that comes twice adds nothing.
 * - An expired iterator is opened again after the last record read. Trimmed data is a gap, named, and passed.
 * - `changedMs` never falls along a shard, and is above all of its parent's: (changedMs, seq) orders a key's changes.
 * - The shard's watermark rises to the time a call was made when its answer shows that nothing more was waiting;
 *   otherwise to before the second of the last record, for what follows may be of that second too.
 */
import type { Clock } from "../shared/clock.ts";
import type { Position } from "../shared/position.ts";
import type { Row, StreamRecord } from "../shared/row.ts";
import { rowOf, sequenceOf } from "../shared/row.ts";
import { lastChangedMs } from "../shared/position.ts";
import { compareSequence } from "../shared/sequence.ts";
import type { Gap } from "../shared/snapshot.ts";
import { gapText } from "../shared/snapshot.ts";
import { STREAM_RETENTION_MS } from "../shared/watermark.ts";
import type { ShardPage } from "./buffer.ts";
import type { Page, Streams } from "./stream.ts";

/** An answer this full may have been cut short: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html */
const FULL_PAGE_RECORDS = 1000;
const FULL_PAGE_BYTES = 900_000;
const RETRY_MAX_MS = 10_000;
/** A shard is gone when it was asked for this often, some seconds, and was there last when the stream may have dropped it since. */
const MISSES_MAX = 6;
/** Otherwise it is not known everywhere yet, or the service errs: some minutes. Only a deleted table's are gone so soon. */
const LATE_MISSES_MAX = 60;
const TRIMMED = "the records after it are older than the stream keeps (24 hours)";

export type ShardReaderDeps = {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
  /** Rows are visible once a call was made after they were read: a second one follows at once. */
  readonly confirms: boolean;
  readonly accept: (page: ShardPage) => Promise<void>;
  readonly warn: (what: string) => void;
};

/**
 * Reads until the shard ends, or `signal` aborts.
 * @param isClosed asked before each call: whether others are known to follow the shard
 */
export async function readShard(
  deps: ShardReaderDeps,
  shard: string,
  { position: start, isClosed }: { readonly position: Position; readonly isClosed: () => boolean },
  signal: AbortSignal,
): Promise<void> {
  const { streams, clock } = deps;
  let position = start;
  let iterator: string | null = null;
  let fromHorizon = start.seq === null;
  let delayMs = deps.pollMinMs;
  let confirming = false;
  let faults = 0;
  let misses = 0;

  const backOff = async (why: string): Promise<void> => {
    faults += 1;
    const ms = Math.min(RETRY_MAX_MS, 100 * 2 ** Math.min(faults, 10)) * (0.5 + clock.random() / 2);
    deps.warn(`${shard}: ${why}; trying again in ${Math.round(ms)} ms`);
    await clock.sleep(ms, signal);
  };
  const passGap = async (reason: Gap["reason"]): Promise<void> => {
    const gap: Gap = { shard, after: position.seq, reason, detectedMs: clock.nowMs() };
    deps.warn(gapText(gap));
    await deps.accept({
      shard,
      rows: [],
      records: 0,
      bytes: 0,
      position: { ...position, from: position.seq },
      gap,
    });
  };

  const missesMax = (): number =>
    clock.nowMs() - position.at > STREAM_RETENTION_MS ? MISSES_MAX : LATE_MISSES_MAX;

  // A function of its own, so that nothing holds an answer while the next is on its way: what the loop below held
  // would be copied by the garbage collector, answer after answer.
  const readAnswer = async (from: string): Promise<number> => {
    const [askedMs, closed] = [clock.nowMs(), isClosed()];
    const outcome = await streams.getRecords(from, signal);
    if (signal.aborted) return 0;
    if (outcome.kind !== "page") {
      if (outcome.kind === "trimmed" && !fromHorizon) {
        await passGap(TRIMMED);
        fromHorizon = true;
      }
      if (outcome.kind !== "retry") iterator = null;
      await backOff(outcome.kind === "retry" ? outcome.why : `its iterator is ${outcome.kind}`);
      return 0;
    }
    faults = 0;
    misses = 0;
    const { page } = outcome;
    const taken = takePage(shard, position, page, { askedMs, readMs: clock.nowMs(), closed });
    position = taken.position;
    if (taken.records > 0) fromHorizon = false;
    await deps.accept(taken);
    iterator = page.next;
    delayMs = nextDelayMs(delayMs, page, deps);
    confirming = deps.confirms && !confirming && taken.rows.length > 0;
    return confirming ? 0 : delayMs;
  };

  if (start.seq === null && start.at > 0 && clock.nowMs() - start.at > STREAM_RETENTION_MS) {
    await passGap("its first records may be older than the stream keeps (24 hours)");
  }
  while (!signal.aborted) {
    if (iterator === null) {
      const after = fromHorizon ? null : position.seq;
      const opened = await streams.openIterator(start.stream, shard, after, signal);
      if (opened.kind === "iterator") iterator = opened.iterator;
      else if (opened.kind === "retry") await backOff(opened.why);
      else if (opened.kind === "trimmed" && !fromHorizon) {
        await passGap(TRIMMED);
        fromHorizon = true;
      } else if ((misses += 1) < missesMax()) await backOff(`it is ${opened.kind}`);
      else {
        await passGap("the shard no longer exists: its records were older than the stream keeps (24 hours)");
        await deps.accept({
          shard,
          rows: [],
          records: 0,
          bytes: 0,
          position: endOf(position),
        });
        return;
      }
      continue;
    }
    const pauseMs = await readAnswer(iterator);
    if (position.done || signal.aborted) return;
    if (pauseMs > 0) await clock.sleep(pauseMs, signal);
  }
}

/**
 * The rows of one answer, and the position after it. Pure.
 * @param when the call was made, its answer read; and whether the shard was known to take no more records
 */
export function takePage(
  shard: string,
  before: Position,
  page: Page,
  {
    askedMs,
    readMs,
    closed,
  }: { readonly askedMs: number; readonly readMs: number; readonly closed: boolean },
): ShardPage {
  const rows: Row[] = [];
  let { seq } = before;
  let changed = lastChangedMs(before);
  let records = 0;
  for (const record of page.records) {
    const recordSeq = sequenceOf(record);
    if (compareSequence(recordSeq, seq) <= 0) continue;
    seq = recordSeq;
    records += 1;
    const row = rowOf(record, recordSeq, shard, Math.max(before.at, changed - 1), readMs);
    if (row === null) continue;
    rows.push(row);
    changed = row.changedMs;
  }
  const done = page.next === null;
  const sureMs = done || closed || isFull(page) ? Math.min(askedMs, beforeSecondOf(page)) : askedMs;
  const at = Math.max(before.at, sureMs);
  const position: Position = {
    ...before,
    from: before.seq,
    seq,
    at,
    changed: Math.max(at, changed),
    done,
    ...(done ? { ended: askedMs } : {}),
  };
  return { shard, rows, records, bytes: page.bytes, position };
}

/** The last moment before the second in which the page's last record was made; 0 when it has none. */
function beforeSecondOf({ records }: Page): number {
  const createdS = records.at(-1)?.dynamodb.ApproximateCreationDateTime ?? 0;
  return createdS === 0 ? 0 : Math.floor(createdS) * 1000 - 1;
}

/** Of a shard that is gone: it ended longer ago than the stream keeps. */
const endOf = (position: Position): Position => ({ ...position, from: position.seq, done: true });

const isFull = (page: Page): boolean =>
  page.next !== null && (page.records.length >= FULL_PAGE_RECORDS || page.bytes >= FULL_PAGE_BYTES);

/** At once while answers are full; otherwise slower the emptier they are, within the bounds. */
function nextDelayMs(delayMs: number, page: Page, { pollMinMs, pollMaxMs }: ShardReaderDeps): number {
  if (isFull(page)) return 0;
  const fill: readonly StreamRecord[] = page.records;
  const scaled = fill.length === 0 ? delayMs * 1.5 : (delayMs * 700) / fill.length;
  return Math.min(pollMaxMs, Math.max(pollMinMs, scaled));
}
