/**
 * Writes to one region's table: events 25 a call, objects one a call, a few calls at once, each tried within
 * a bound.
 */
import type { DynamoAnswer, DynamoClient, DynamoSession } from "../shared/aws/dynamodb.ts";
import type { Clock } from "../shared/clock.ts";
import { isJsonObject } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { bodyFor, batchesOf, putsOf } from "./batch.ts";
import type { Batch } from "./batch.ts";
import type { ObjectUpdate } from "./objects.ts";

export type TableLimits = {
  /** The platform gives a request 6 connections. */
  readonly callsAtOnce: number;
  readonly attemptsMax: number;
  /** From the first call of a request to this table on; a call begun by then may still take its own time. */
  readonly totalMs: number;
};

/** SDKs give a request up after some 10 s: three calls without an answer stay below that. */
export const TABLE_LIMITS: TableLimits = { callsAtOnce: 6, attemptsMax: 5, totalMs: 7_500 };

const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 1_000;

export type TableWork = {
  readonly batches: readonly Batch[];
  readonly updates: readonly ObjectUpdate[];
};

/** How many calls the request may still make: the platform counts its subrequests. */
export type CallBudget = { left: number };

export type Unwritable = {
  /** Where it stood in the request; null for what no client waits for, so that nobody can be told. */
  readonly index: number | null;
  readonly what: "item" | "object";
  readonly message: string;
};
export type TableOutcome = {
  /** What the table refused for good. */
  readonly unwritable: readonly Unwritable[];
  /** What is not durable. Nothing, when all went well. */
  readonly left: TableWork;
  readonly failure: Failure | null;
};
/** Why something is left. The request's own limit is no fault of the table's. */
export type Failure = { readonly reason: string; readonly cause: "down" | "throttled" | "calls" };

type Written =
  | { readonly kind: "written" }
  | {
      readonly kind: "refused";
      readonly indexes: readonly (number | null)[];
      readonly what: Unwritable["what"];
      readonly message: string;
    }
  | ({ readonly kind: "unavailable" } & Failure);

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
      failure ??= { reason: down.reason, cause: down.cause };
      return;
    }
    undone.delete(task);
    for (const result of written) {
      if (result.kind !== "refused") continue;
      const { indexes, what, message } = result;
      for (const index of indexes) unwritable.push({ index, what, message });
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
export const OVER_BUDGET = { kind: "unavailable", message: "the request's calls are used up" } as const;

/** What a 200 says: that all is done; what of the call is still to do, as its next body; or nothing to go by. */
type Reading = { readonly kind: "done" | "unreadable" } | { readonly kind: "left"; readonly body: string };

/** What stands between may answer too, such as a proxy with a page of its own. */
const UNREADABLE = { kind: "unavailable", message: "the answer is not DynamoDB's" } as const;

/** Calls until an answer is final. */
async function callWithRetry(
  table: OpenTable,
  target: string,
  firstBody: Uint8Array,
  deadlineMs: number,
  read: (text: string) => Reading,
): Promise<DynamoAnswer> {
  let body = firstBody;
  for (let attempt = 1; ; attempt++) {
    if (table.budget.left <= 0) return OVER_BUDGET;
    table.budget.left -= 1;
    let answer = await table.call(target, body);
    if (answer.kind === "refused") return answer;
    if (answer.kind === "ok") {
      const reading = read(answer.text);
      if (reading.kind === "done") return answer;
      if (reading.kind === "left") {
        body = encoder.encode(reading.body);
        answer = { kind: "throttled", errorType: "UnprocessedItems", message: "items were left unprocessed" };
      } else answer = UNREADABLE;
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

function failureOf(
  answer: Exclude<DynamoAnswer, { kind: "ok" }>,
  { indexes }: Batch | ObjectUpdate,
  what: Unwritable["what"],
): Written {
  if (answer.kind === "refused" && ITEM_FAULTS.has(answer.errorType)) {
    return { kind: "refused", indexes, what, message: answer.message };
  }
  const reason = answer.kind === "unavailable" ? answer.message : `${answer.errorType}: ${answer.message}`;
  const cause = answer === OVER_BUDGET ? "calls" : answer.kind === "throttled" ? "throttled" : "down";
  return { kind: "unavailable", reason, cause };
}

const DONE: Reading = { kind: "done" };
const NOTHING_TO_GO_BY: Reading = { kind: "unreadable" };
const NOTHING_LEFT = '{"UnprocessedItems":{}}';

function objectOf(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    // The error's own message would quote the text.
    return null;
  }
}

function readUnprocessed(text: string): Reading {
  if (text === NOTHING_LEFT) return DONE;
  const left = objectOf(text)?.["UnprocessedItems"];
  if (!isJsonObject(left)) return NOTHING_TO_GO_BY;
  if (Object.keys(left).length === 0) return DONE;
  return { kind: "left", body: `{"RequestItems":${JSON.stringify(left)}}` };
}

const readUpdated = (text: string): Reading =>
  text === "{}" || objectOf(text) !== null ? DONE : NOTHING_TO_GO_BY;

async function writeBatch(table: OpenTable, batch: Batch, deadlineMs: number): Promise<readonly Written[]> {
  const target = "DynamoDB_20120810.BatchWriteItem";
  const answer = await callWithRetry(table, target, bodyFor(table.name, batch), deadlineMs, readUnprocessed);
  if (answer.kind === "ok") return [WRITTEN];
  const failure = failureOf(answer, batch, "item");
  if (failure.kind !== "refused" || batch.indexes.length === 1) return [failure];
  // One item fails the call for all: find out which, one by one.
  const results: Written[] = [];
  for (const put of putsOf(batch)) {
    for (const one of batchesOf(table.name, [put]))
      results.push(...(await writeBatch(table, one, deadlineMs)));
  }
  return results;
}

async function writeObject(table: OpenTable, update: ObjectUpdate, deadlineMs: number): Promise<Written> {
  const target = "DynamoDB_20120810.UpdateItem";
  let answer = await callWithRetry(table, target, encoder.encode(update.set), deadlineMs, readUpdated);
  if (answer.kind === "refused" && answer.errorType === "ConditionalCheckFailedException") {
    answer = await callWithRetry(table, target, encoder.encode(update.fill), deadlineMs, readUpdated);
  }
  return answer.kind === "ok" ? WRITTEN : failureOf(answer, update, "object");
}
