/**
 * Writes to the table: events 25 a call, objects one a call, a few calls at once, each tried within a bound.
 */
import type { Clock } from "../shared/clock.ts";
import type { DynamoAnswer, DynamoClient } from "../shared/aws/dynamodb.ts";
import type { Put } from "./items.ts";
import type { ObjectUpdate } from "./objects.ts";

export type TableLimits = {
  /** The platform gives a request 6 connections. */
  readonly callsAtOnce: number;
  readonly attemptsMax: number;
  /** All writes of a request together. */
  readonly totalMs: number;
};

export const TABLE_LIMITS: TableLimits = { callsAtOnce: 6, attemptsMax: 5, totalMs: 8_000 };

const BATCH_MAX = 25;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 1_000;

export type TableWork = {
  readonly puts: readonly Put[];
  readonly updates: readonly ObjectUpdate[];
};

export type Unwritable = { readonly index: number; readonly message: string };
export type TableOutcome =
  /** Everything is durable but what the table refused for good. */
  | { readonly kind: "durable"; readonly unwritable: readonly Unwritable[] }
  | { readonly kind: "unavailable"; readonly reason: string; readonly throttled: boolean };

type Written =
  | { readonly kind: "written" }
  | { readonly kind: "refused"; readonly indexes: readonly number[]; readonly message: string }
  | { readonly kind: "unavailable"; readonly reason: string; readonly throttled: boolean };

type Table = {
  readonly dynamo: DynamoClient;
  readonly name: string;
  readonly clock: Clock;
  readonly limits: TableLimits;
};

const WRITTEN: Written = { kind: "written" };

export async function writeTable(table: Table, work: TableWork): Promise<TableOutcome> {
  const deadlineMs = table.clock.nowMs() + table.limits.totalMs;
  const tasks: (() => Promise<Written[]>)[] = [];
  for (let from = 0; from < work.puts.length; from += BATCH_MAX) {
    const puts = work.puts.slice(from, from + BATCH_MAX);
    tasks.push(() => writePuts(table, puts, deadlineMs));
  }
  for (const update of work.updates) {
    tasks.push(async () => [await writeObject(table, update, deadlineMs)]);
  }
  const written = await runTasks(tasks, table.limits.callsAtOnce);
  const unwritable: Unwritable[] = [];
  for (const result of written) {
    if (result.kind === "unavailable") return result;
    if (result.kind !== "refused") continue;
    for (const index of result.indexes) unwritable.push({ index, message: result.message });
  }
  return { kind: "durable", unwritable };
}

/** Runs the tasks in order, `atOnce` at a time; stops starting them once one says that the table is down. */
async function runTasks(
  tasks: readonly (() => Promise<Written[]>)[],
  atOnce: number,
): Promise<readonly Written[]> {
  const results: Written[] = [];
  let next = 0;
  let down = false;
  const lane = async (): Promise<void> => {
    while (!down) {
      const task = tasks[next++];
      if (task === undefined) return;
      const written = await task();
      down ||= written.some((result) => result.kind === "unavailable");
      results.push(...written);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, tasks.length) }, lane));
  return results;
}

/** Calls until an answer is final: `next` says what of the call is still to do, or null. */
async function callWithRetry(
  table: Table,
  target: string,
  firstBody: string,
  deadlineMs: number,
  remainder: (text: string) => string | null,
): Promise<DynamoAnswer> {
  let body = firstBody;
  for (let attempt = 1; ; attempt++) {
    let answer = await table.dynamo.call(target, body);
    if (answer.kind === "refused") return answer;
    if (answer.kind === "ok") {
      const left = remainder(answer.text);
      if (left === null) return answer;
      body = left;
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
const ITEM_FAULTS = new Set(["ValidationException", "ItemCollectionSizeLimitExceededException"]);

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

async function writePuts(table: Table, puts: readonly Put[], deadlineMs: number): Promise<Written[]> {
  const body = `{"RequestItems":{${JSON.stringify(table.name)}:[${puts.map((put) => put.text).join(",")}]}}`;
  const answer = await callWithRetry(
    table,
    "DynamoDB_20120810.BatchWriteItem",
    body,
    deadlineMs,
    unprocessed,
  );
  if (answer.kind === "ok") return [WRITTEN];
  const indexes = puts.map((put) => put.index).filter((index) => index !== null);
  const failure = failureOf(answer, indexes);
  if (failure.kind !== "refused" || puts.length === 1) return [failure];
  // One item fails the call for all: find out which, one by one.
  const results: Written[] = [];
  for (const put of puts) results.push(...(await writePuts(table, [put], deadlineMs)));
  return results;
}

const whole = (): null => null;

async function writeObject(table: Table, update: ObjectUpdate, deadlineMs: number): Promise<Written> {
  const target = "DynamoDB_20120810.UpdateItem";
  let answer = await callWithRetry(table, target, update.set, deadlineMs, whole);
  if (answer.kind === "refused" && answer.errorType === "ConditionalCheckFailedException") {
    answer = await callWithRetry(table, target, update.fill, deadlineMs, whole);
  }
  return answer.kind === "ok" ? WRITTEN : failureOf(answer, update.indexes);
}
