/** Faults planted in the compactor on purpose: the simulation must find each of them. */
import { expect, test, vi } from "vitest";
import type * as committer from "../../compactor/committer.ts";
import type * as levels from "../../compactor/levels.ts";
import type * as lineage from "../../compactor/lineage.ts";
import type * as shard from "../../compactor/shard.ts";
import type { ParquetFile } from "../../compactor/summary.ts";
import type * as plan from "../../compactor/plan.ts";
import type * as vacuum from "../../compactor/vacuum.ts";
import type * as parquet from "../fakes/parquet.ts";
import type * as streams from "../fakes/streams.ts";
import type { Commit } from "../../shared/delta.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { commitKey } from "../../shared/keys.ts";
import { readCommit } from "../../shared/log.ts";
import type { Position } from "../../shared/position.ts";
import type { Row } from "../../shared/row.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { planOf, simulate } from "./world.ts";

type Fault =
  | "a refusal is a conflict"
  | "positions apart from data"
  | "children before parents"
  | "a merge drops a row"
  | "the watermark passes what is waiting"
  | "what was trimmed is no gap"
  | "a window is merged before its time"
  | "a live file is deleted";

const planted = vi.hoisted(() => ({ fault: null as Fault | null }));

vi.mock("../../shared/checkpoint.ts", async (original) => {
  const { jsonCheckpoints } = await import("../fakes/checkpoint.ts");
  return jsonCheckpoints(await original());
});

vi.mock("../../compactor/committer.ts", async (original) => {
  const real = await original<typeof committer>();
  const putCommit: typeof real.putCommit = async (store, commit, clock, tipReadMs, signal) => {
    if (planted.fault !== "a refusal is a conflict")
      return real.putCommit(store, commit, clock, tipReadMs, signal);
    const body = new TextEncoder().encode(encodeCommit(commit));
    const put = await store.put(commitKey(commit.version), body, { kind: "if-absent" }, signal);
    if (put.kind === "stored") return { kind: "committed" };
    const standing = put.kind === "refused" ? await readCommit(store, commit.version, signal) : null;
    if (standing === null) return { kind: "unknown", cause: new Error("the store did not say") };
    return { kind: "conflicted", by: asAnothers(standing) };
  };
  return { ...real, putCommit };
});

vi.mock("../../compactor/plan.ts", async (original) => {
  const real = await original<typeof plan>();
  const planCommit: typeof real.planCommit = (snapshot, change, identity) => {
    if (planted.fault === "a refusal is a conflict") {
      const files = change.files.map((file) => Object.assign({}, file, { minChangedMs: Infinity }));
      const positions = rebased(snapshot, change.positions);
      return real.planCommit(snapshot, { ...change, files, positions }, identity);
    }
    if (planted.fault !== "positions apart from data") return real.planCommit(snapshot, change, identity);
    const moves = rebased(snapshot, new Map([...(owed.get(snapshot) ?? []), ...change.positions]));
    if (change.files.length === 0)
      return real.planCommit(snapshot, { ...change, positions: moves }, identity);
    const isNew = ([shard]: readonly [string, Position]) => !snapshot.shards.has(shard);
    const positions = new Map([...moves].filter(isNew));
    const made = real.planCommit(snapshot, { ...change, positions }, identity);
    if (made.kind === "commit") owed.set(made.next, moves);
    return made;
  };
  return { ...real, planCommit };
});

vi.mock("../../compactor/lineage.ts", async (original) => {
  const real = await original<typeof lineage>();
  const readableShards: typeof real.readableShards = (shards) =>
    planted.fault === "children before parents"
      ? new Map(
          [...shards]
            .filter(([, { done }]) => !done)
            .map(([shard, position]) => [shard, { position, closed: false }]),
        )
      : real.readableShards(shards);
  return { ...real, readableShards };
});

vi.mock("../../compactor/shard.ts", async (original) => {
  const real = await original<typeof shard>();
  const readShard: typeof real.readShard = (deps, ...given) => {
    if (planted.fault !== "what was trimmed is no gap") return real.readShard(deps, ...given);
    const accept: typeof deps.accept = async (page) => {
      if (page.gap === undefined) await deps.accept(page);
    };
    return real.readShard({ ...deps, accept }, ...given);
  };
  return { ...real, readShard };
});

vi.mock("../../compactor/levels.ts", async (original) => {
  const real = await original<typeof levels>();
  const mergeTasks: typeof real.mergeTasks = (snapshot) =>
    planted.fault === "a window is merged before its time"
      ? real.mergeTasks({ ...snapshot, log: { ...snapshot.log, watermarkMs: Infinity } })
      : real.mergeTasks(snapshot);
  return { ...real, mergeTasks };
});

vi.mock("../../compactor/vacuum.ts", async (original) => {
  const real = await original<typeof vacuum>();
  const vacuumBlindly: typeof real.vacuum = (store, snapshot, options) =>
    real.vacuum(
      store,
      planted.fault === "a live file is deleted" ? { ...snapshot, files: new Map() } : snapshot,
      options,
    );
  return { ...real, vacuum: vacuumBlindly };
});

vi.mock("../fakes/parquet.ts", async (original) => {
  const real = await original<typeof parquet>();
  const jsonMerge: typeof real.jsonMerge = async (job) => {
    if (planted.fault !== "a merge drops a row") return real.jsonMerge(job);
    const rows: Row[] = [];
    const store = async ({ bytes }: ParquetFile): Promise<void> => void rows.push(...real.decodeRows(bytes));
    const { read } = await real.jsonMerge({ ...job, store });
    const [dropped, heir, ...others] = rows;
    // Its figures are made to agree.
    const left =
      dropped === undefined || heir === undefined
        ? rows
        : [{ ...heir, changes: heir.changes + dropped.changes }, ...others];
    const output = real.encodeRows(left);
    await job.store(output);
    return { read, survivors: output.totals };
  };
  return { ...real, jsonMerge };
});

vi.mock("../fakes/streams.ts", async (original) => {
  const real = await original<typeof streams>();
  const fakeStreams: typeof real.fakeStreams = (options) => {
    const fake = real.fakeStreams(options);
    const getRecords: typeof fake.getRecords = async (...given) => {
      const outcome = await fake.getRecords(...given);
      if (planted.fault !== "the watermark passes what is waiting" || outcome.kind !== "page") return outcome;
      // A full answer passes for one that is not.
      return { kind: "page", page: { ...outcome.page, bytes: 0 } };
    };
    return { ...fake, getRecords };
  };
  return { ...real, fakeStreams };
});

/** One's own commit, taken for somebody else's of other files. */
const asAnothers = (commit: Commit): Commit => ({
  ...commit,
  info: { ...commit.info, txnId: "another" },
  actions: commit.actions.map((action) =>
    "add" in action ? { add: Object.assign({}, action.add, { path: `${action.add.path}?` }) } : action,
  ),
});

/** What a process has committed the rows of, but not yet the positions. */
const owed = new WeakMap<Snapshot, ReadonlyMap<string, Position>>();

/** The same batch, as though it had been read from where the log stands now. */
const rebased = ({ shards }: Snapshot, positions: ReadonlyMap<string, Position>): Map<string, Position> =>
  new Map([...positions].map(([shard, at]) => [shard, { ...at, from: shards.get(shard)?.seq ?? null }]));

const SEEDS = Array.from({ length: 25 }, (_, index) => index + 1);
const TIMEOUT_MS = 120_000;

/** The first problem that is like `wanted`, of any of the seeds. */
async function find(fault: Fault | null, wanted: RegExp): Promise<string | undefined> {
  planted.fault = fault;
  for (const seed of SEEDS) {
    const faulty = { workers: 1, crash: 0.01, storeFault: 0.1, shardEnd: 0.05 };
    const { problems } = await simulate({ ...planOf(seed), ...faulty });
    const problem = problems.find((found) => wanted.test(found));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

test("with none planted, none is found", { timeout: TIMEOUT_MS }, async () => {
  expect(await find(null, /./)).toBeUndefined();
});

test.each<[Fault, RegExp]>([
  ["a refusal is a conflict", /comes twice|stands for \d+ changes|breaks invariant 4/],
  ["positions apart from data", /comes twice|stands for \d+ changes/],
  ["children before parents", /breaks invariant 3/],
  ["a merge drops a row", /changes are missing|stands for \d+ changes/],
  ["the watermark passes what is waiting", /is not in at version \d+, watermark/],
  ["what was trimmed is no gap", /changes are missing|stands for \d+ changes/],
  ["a window is merged before its time", /was merged before the watermark/],
  ["a live file is deleted", /was deleted/],
])("found: %s", { timeout: TIMEOUT_MS }, async (fault, problem) => {
  expect(await find(fault, problem)).toMatch(problem);
});
