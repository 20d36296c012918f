/**
 * Where a request's writes go, until each is durable somewhere: the nearest region, the next, the queue.
 *
 * - Events may stand in any region, unless their source is pinned; objects only in the source's home, since
 *   two homes would be two truths.
 * - What a region took is not sent to the next one.
 */
import type { DynamoClient } from "../shared/aws/dynamodb.ts";
import type { Clock } from "../shared/clock.ts";
import type { Breaker } from "./breaker.ts";
import type { ObjectUpdate } from "./objects.ts";
import type { Region, Route } from "./regions.ts";
import { canSpill, spill } from "./spill.ts";
import type { SpillQueue } from "./spill.ts";
import { OVER_BUDGET, TABLE_LIMITS, writeTable } from "./table.ts";
import type { CallBudget, Failure, TableOutcome, TableWork, Unwritable } from "./table.ts";

export type Site = { readonly region: Region; readonly dynamo: DynamoClient; readonly breaker: Breaker };

/** What the client is to be told of. */
export type Refusal = Unwritable & { readonly index: number };
const isToldOf = (unwritable: Unwritable): unwritable is Refusal => unwritable.index !== null;

export type StoreOutcome =
  | { readonly kind: "durable"; readonly unwritable: readonly Refusal[] }
  | { readonly kind: "unavailable"; readonly reason: string; readonly throttled: boolean }
  /** More objects than one request's subrequests allow, and no queue to take the rest. */
  | { readonly kind: "too_many_objects"; readonly objectsMax: number };

/** The platform allows a request 1,000 subrequests; KV and the queue need some too. */
const CALLS_MAX = 900;
/** Where a write can still go elsewhere, it does not wait long: a call that had no answer in its time is not tried again. */
const ELSEWHERE_MS = 2_500;

type Effort = { readonly clock: Clock; readonly budget: CallBudget };

const isEmpty = (work: TableWork): boolean => work.batches.length === 0 && work.updates.length === 0;

const untried = (left: TableWork, failure: Failure | null): TableOutcome => ({
  unwritable: [],
  left,
  failure,
});

async function writeSite(
  effort: Effort,
  site: Site,
  work: TableWork,
  elsewhere: boolean,
  callsAtOnce: number,
): Promise<TableOutcome> {
  const { clock, budget } = effort;
  if (isEmpty(work)) return untried(work, null);
  if (budget.left <= 0) return untried(work, { reason: OVER_BUDGET.message, cause: "calls" });
  const sinceMs = clock.nowMs();
  if (!site.breaker.allows(sinceMs)) {
    return untried(work, { reason: `region ${site.region.name} is out`, cause: "down" });
  }
  const totalMs = elsewhere ? ELSEWHERE_MS : TABLE_LIMITS.totalMs;
  const limits = { ...TABLE_LIMITS, callsAtOnce, totalMs };
  const table = { dynamo: site.dynamo, name: site.region.table, clock, limits, budget };
  const outcome = await writeTable(table, work);
  const cause = outcome.failure?.cause;
  // A region that throttles is alive: it is left alone only where its writes can go elsewhere.
  if (cause === "down" || (cause === "throttled" && elsewhere)) site.breaker.failed(clock.nowMs(), sinceMs);
  else site.breaker.succeeded();
  return outcome;
}

/** The first try: the nearest region's events and the home's objects, in one go where they are one. */
async function writeFirst(
  effort: Effort,
  route: Route<Site>,
  work: TableWork,
  hasQueue: boolean,
): Promise<readonly TableOutcome[]> {
  const [nearest] = route.events;
  const { objects } = route;
  const elsewhere = route.events.length > 1 || hasQueue;
  if (nearest === undefined || nearest === objects) {
    return [await writeSite(effort, objects, work, elsewhere, TABLE_LIMITS.callsAtOnce)];
  }
  const half = TABLE_LIMITS.callsAtOnce / 2;
  return Promise.all([
    writeSite(effort, nearest, { batches: work.batches, updates: [] }, elsewhere, half),
    writeSite(effort, objects, { batches: [], updates: work.updates }, hasQueue, half),
  ]);
}

/**
 * How many objects a request can write itself, with some calls kept for trying again. One that is older than what
 * stands takes two calls; what these leave undone, the queue takes, where there is one.
 */
function objectsRoom(batches: number, hasQueue: boolean): number {
  return Math.floor((CALLS_MAX - batches) * (hasQueue ? 0.8 : 0.45));
}

/** What has to go to the queue is what it can hold. Updates of one object bear any order. */
const unspillableFirst = (updates: readonly ObjectUpdate[]): readonly ObjectUpdate[] => [
  ...updates.filter((update) => !canSpill(update)),
  ...updates.filter(canSpill),
];

export async function storeWork(
  route: Route<Site>,
  work: TableWork,
  queue: SpillQueue | null,
  clock: Clock,
): Promise<StoreOutcome> {
  const effort: Effort = { clock, budget: { left: CALLS_MAX } };
  const room = objectsRoom(work.batches.length, queue !== null);
  if (work.updates.length > room && queue === null) return { kind: "too_many_objects", objectsMax: room };
  const updatesInTurn = work.updates.length > room ? unspillableFirst(work.updates) : work.updates;
  const now = { batches: work.batches, updates: updatesInTurn.slice(0, room) };
  const later = updatesInTurn.slice(room);
  const outcomes = [...(await writeFirst(effort, route, now, queue !== null))];
  let batches = outcomes.flatMap(({ left }) => left.batches);
  for (const [index, site] of route.events.entries()) {
    if (index === 0 || batches.length === 0) continue;
    const elsewhere = index < route.events.length - 1 || queue !== null;
    const outcome = await writeSite(
      effort,
      site,
      { batches, updates: [] },
      elsewhere,
      TABLE_LIMITS.callsAtOnce,
    );
    outcomes.push(outcome);
    batches = [...outcome.left.batches];
  }
  const updates = [...outcomes.flatMap(({ left }) => left.updates), ...later];
  const left = { batches, updates };
  const unwritable = outcomes.flatMap((outcome) => outcome.unwritable);
  const untold = unwritable.find(({ index }) => index === null);
  if (untold !== undefined) return { kind: "unavailable", reason: untold.message, throttled: false };
  const durable: StoreOutcome = { kind: "durable", unwritable: unwritable.filter(isToldOf) };
  if (isEmpty(left)) return durable;
  if (await spill(queue, route.objects.region.name, left, clock)) return durable;
  const failure = outcomes.find((outcome) => outcome.failure !== null)?.failure;
  return {
    kind: "unavailable",
    reason: failure?.reason ?? "the queue took nothing",
    throttled: failure?.cause === "throttled",
  };
}
