/**
 * Writes to one region's table: events 25 a call, objects one a call, a few calls at once, each tried within
 * a bound.
 */
import type { DynamoAnswer, DynamoClient, DynamoSession } from "../shared/aws/dynamodb.ts";
import type { Clock } from "../shared/clock.ts";
import { bodyFor, batchesOf, putsOf } from "./batch.ts";
import type { Batch } from "./batch.ts";
import type { ObjectUpdate } from "./objects.ts";

export type TableLimits = {
  /** The platform gives a request 6 connections. */
  readonly callsAtOnce: number;
  readonly attemptsMax: number;
  /** All writes of a request to this table together. */
  readonly totalMs: number;
};

export const TABLE_LIMITS: TableLimits = { callsAtOnce: 6, attemptsMax: 5, totalMs: 8_000 };

const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 1_000;

export type TableWork = {
  readonly batches: readonly Batch[];
  readonly updates: readonly ObjectUpdate[];
};

/** How many calls the request may still make: the platform counts its subrequests. */
export type CallBudget = { left: number };

export type Unwritable = { readonly index: number; readonly message: string };
export type TableOutcome = {
  /** What the table refused for good. */
  readonly unwritable: readonly Unwritable[];
  /** What is not durable. Nothing, when all went well. */
  readonly left: TableWork;
  /** Why something is left. */
  readonly failure: { readonly reason: string; readonly throttled: boolean } | null;
};

type Written =
  | { readonly kind: "written" }
  | { readonly kind: "refused"; readonly indexes: readonly number[]; readonly message: string }
  | { readonly kind: "unavailable"; readonly reason: string; readonly throttled: boolean };

export type Table = {
  readonly dynamo: DynamoClient;
  readonly name: string;
  readonly clock: Clock;
  readonly limits: TableLimits;
  readonly budget: CallBudget;
};

type OpenTable = Table & Pick<DynamoSession, "call">;

/** One call's worth of work, and what it is for when it cannot be done. */
type Task = { readonly work: TableWork; readonly run: () => Promise<readonly Written[]> };

const WRITTEN: Written = { kind: "written" };
export const NO_WORK: TableWork = { batches: [], updates: [] };

export async function writeTable(table: Table, work: TableWork): Promise<TableOutcome> {
  const session = table.dynamo.open();
  try {
    return await writeWith({ ...table, call: session.call }, work);
  } finally {
    session.close();
  }
}

async function writeWith(table: OpenTable, work: TableWork): Promise<TableOutcome> {
  const deadlineMs = table.clock.nowMs() + table.limits.totalMs;
  const tasks: Task[] = work.batches.map((batch) => ({
    work: { batches: [batch], updates: [] },
    run: () => writeBatch(table, batch, deadlineMs),
  }));
  for (const update of work.updates) {
    tasks.push({
      work: { batches: [], updates: [update] },
      run: async () => [await writeObject(table, update, deadlineMs)],
    });
  }
  return runTasks(tasks, table.limits.callsAtOnce);
}

/** Runs the tasks in order, `atOnce` at a time; starts no more once one says that the table is down. */
async function runTasks(tasks: readonly Task[], atOnce: number): Promise<TableOutcome> {
  const unwritable: Unwritable[] = [];
  const undone = new Set<Task>(tasks);
  let failure: TableOutcome["failure"] = null;
  let next = 0;

  function note(task: Task, written: readonly Written[]): void {
    const down = written.find((result) => result.kind === "unavailable");
    if (down !== undefined) {
      failure ??= { reason: down.reason, throttled: down.throttled };
      return;
    }
    undone.delete(task);
    for (const result of written) {
      if (result.kind !== "refused") continue;
      for (const index of result.indexes) unwritable.push({ index, message: result.message });
    }
  }

  const lane = async (): Promise<void> => {
    for (let task = tasks[next++]; task !== undefined && failure === null; task = tasks[next++]) {
      note(task, await task.run());
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, tasks.length) }, lane));
  if (undone.size === 0) return { unwritable, left: NO_WORK, failure: null };
  const left = {
    batches: [...undone].flatMap((task) => task.work.batches),
    updates: [...undone].flatMap((task) => task.work.updates),
  };
  return { unwritable, left, failure };
}

const encoder = new TextEncoder();
const OVER_BUDGET: DynamoAnswer = { kind: "unavailable", message: "the request's calls are used up" };

/** Calls until an answer is final: `remainder` says what of the call is still to do, or null. */
async function callWithRetry(
  table: OpenTable,
  target: string,
  firstBody: Uint8Array,
  deadlineMs: number,
  remainder: (text: string) => string | null,
): Promise<DynamoAnswer> {
  let body = firstBody;
  for (let attempt = 1; ; attempt++) {
    if (table.budget.left <= 0) return OVER_BUDGET;
    table.budget.left -= 1;
    let answer = await table.call(target, body);
    if (answer.kind === "refused") return answer;
    if (answer.kind === "ok") {
      const left = remainder(answer.text);
      if (left === null) return answer;
      body = encoder.encode(left);
      answer = { kind: "throttled", errorType: "UnprocessedItems", message: "items were left unprocessed" };
    }
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt);
    const delayMs = ceilingMs * (0.5 + table.clock.random() / 2);
    const late = table.clock.nowMs() + delayMs > deadlineMs;
    if (attempt >= table.limits.attemptsMax || late) return answer;
    await table.clock.sleep(delayMs);
  }
}

/** Only these say that the item itself is at fault; the rest (no such table, no right) is ours to mend. */
const ITEM_FAULTS = new Set([
  "ValidationException",
  "SerializationException",
  "ItemCollectionSizeLimitExceededException",
]);

function failureOf(answer: Exclude<DynamoAnswer, { kind: "ok" }>, indexes: readonly number[]): Written {
  if (answer.kind === "refused" && ITEM_FAULTS.has(answer.errorType)) {
    return { kind: "refused", indexes, message: answer.message };
  }
  const reason = answer.kind === "unavailable" ? answer.message : `${answer.errorType}: ${answer.message}`;
  return { kind: "unavailable", reason, throttled: answer.kind === "throttled" };
}

const NOTHING_LEFT = '"UnprocessedItems":{}';

function unprocessed(text: string): string | null {
  if (text.includes(NOTHING_LEFT)) return null;
  const { UnprocessedItems: left } = JSON.parse(text) as { UnprocessedItems?: object };
  if (left === undefined || Object.keys(left).length === 0) return null;
  return `{"RequestItems":${JSON.stringify(left)}}`;
}

async function writeBatch(table: OpenTable, batch: Batch, deadlineMs: number): Promise<readonly Written[]> {
  const target = "DynamoDB_20120810.BatchWriteItem";
  const answer = await callWithRetry(table, target, bodyFor(table.name, batch), deadlineMs, unprocessed);
  if (answer.kind === "ok") return [WRITTEN];
  const indexes = batch.indexes.filter((index) => index !== null);
  const failure = failureOf(answer, indexes);
  if (failure.kind !== "refused" || batch.indexes.length === 1) return [failure];
  // One item fails the call for all: find out which, one by one.
  const results: Written[] = [];
  for (const put of putsOf(batch)) {
    for (const one of batchesOf(table.name, [put]))
      results.push(...(await writeBatch(table, one, deadlineMs)));
  }
  return results;
}

const whole = (): null => null;

async function writeObject(table: OpenTable, update: ObjectUpdate, deadlineMs: number): Promise<Written> {
  const target = "DynamoDB_20120810.UpdateItem";
  let answer = await callWithRetry(table, target, encoder.encode(update.set), deadlineMs, whole);
  if (answer.kind === "refused" && answer.errorType === "ConditionalCheckFailedException") {
    answer = await callWithRetry(table, target, encoder.encode(update.fill), deadlineMs, whole);
  }
  return answer.kind === "ok" ? WRITTEN : failureOf(answer, update.indexes);
}
