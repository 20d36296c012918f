/** What the doctor says of stores that are not fit: each of them breaks one rule. */
import { expect, test } from "vitest";
import { layDown, object } from "../../../bench/laid.ts";
import type { Result } from "../../../cli/doctor/check.ts";
import { ok, runChecks } from "../../../cli/doctor/check.ts";
import { environmentChecks, skewMs } from "../../../cli/doctor/environment-checks.ts";
import { storeChecks } from "../../../cli/doctor/store-checks.ts";
import { VarveError } from "../../../shared/errors.ts";
import type { ObjectStore } from "../../../shared/store.ts";
import { memoryStore } from "../../fakes/store.ts";

async function examine(
  store: ObjectStore,
  versioning?: string | null,
  nowMs = 0,
): Promise<Readonly<Record<string, Result>>> {
  const checks = storeChecks({
    store,
    address: "s3://bucket/root",
    unique: "u",
    versioning: () => Promise.resolve(versioning),
    nowMs: () => nowMs,
  });
  const results = await runChecks(checks, () => Promise.resolve());
  return Object.fromEntries(results.map((result) => [result.id, result]));
}

const statuses = (results: Readonly<Record<string, Result>>, status: string): string[] =>
  Object.values(results).flatMap((result) => (result.status === status ? [result.id] : []));

test("a sound store: only its missing bucket policy is remarked, and nothing is left behind", async () => {
  const store = memoryStore();
  const results = await examine(store);
  expect(statuses(results, "fail")).toEqual([]);
  expect(statuses(results, "warn")).toEqual(["log-policy"]);
  expect([...store.objects.keys()]).toEqual([]);
});

test("a store that ignores conditions", async () => {
  const store = memoryStore();
  const results = await examine({ ...store, put: (key, body) => store.put(key, body, { kind: "always" }) });
  expect(statuses(results, "fail")).toEqual(["if-absent", "if-match"]);
  expect(results["if-absent"]).toMatchObject({ found: 'told stored, and "second" stands' });
  expect(results["race"]).toMatchObject({
    status: "skipped",
    found: "waits for: put-if-absent refuses the second writer",
  });
});

test("a store that honours if-absent only when nobody races", async () => {
  const store = memoryStore();
  const results = await examine({
    ...store,
    put: async (key, body, condition) => {
      const isThere = (await store.get(key)) !== null;
      await Promise.resolve();
      if (condition.kind === "if-absent" && isThere) return { kind: "refused" };
      return store.put(key, body, condition.kind === "if-absent" ? { kind: "always" } : condition);
    },
  });
  expect(statuses(results, "fail")).toEqual(["race"]);
});

const forbidden = (call: string): VarveError =>
  new VarveError("store_unreadable", `${call} failed: AccessDenied`, "", accessDenied());
const accessDenied = (): Error => Object.assign(new Error("Access Denied"), { name: "AccessDenied" });

test.each([
  { call: "s3:PutObject", denied: { put: () => Promise.reject(forbidden("PUT")) }, first: "put" },
  { call: "s3:GetObject", denied: { get: () => Promise.reject(forbidden("GET")) }, first: "get" },
  { call: "s3:DeleteObject", denied: { delete: () => Promise.reject(forbidden("DELETE")) }, first: "race" },
])("$call is denied: named, with the fix", async ({ call, denied, first }) => {
  const results = await examine({ ...memoryStore(), ...denied });
  expect(statuses(results, "fail")[0]).toBe(first);
  const fixes = Object.values(results).flatMap(({ status, fix }) => (status === "fail" ? [fix] : []));
  expect(fixes.join("\n")).toContain(call);
});

test("a bucket policy that refuses plain log entries is what is wanted", async () => {
  const store = memoryStore();
  const results = await examine({
    ...store,
    put: (key, body, condition) =>
      key.includes("_delta_log/") && condition.kind !== "if-absent"
        ? Promise.reject(forbidden("PUT"))
        : store.put(key, body, condition),
  });
  expect(results["log-policy"]?.status).toBe("ok");
});

test("versioning that is on keeps what should be gone", async () => {
  expect((await examine(memoryStore(), "Enabled"))["versioning"]?.status).toBe("warn");
  expect((await examine(memoryStore(), "Suspended"))["versioning"]?.status).toBe("ok");
  expect((await examine(memoryStore(), null))["versioning"]?.status).toBe("skipped");
});

test("what a failure takes with it is passed over, and that in turn", async () => {
  const check = (id: string, needs: readonly string[], works: boolean) => ({
    id,
    title: id,
    needs,
    fix: "mend it",
    run: () => (works ? Promise.resolve(ok("fine")) : Promise.reject(new Error("broken"))),
  });
  const results = await runChecks(
    [check("a", [], false), check("b", ["a"], true), check("c", ["b"], true), check("d", [], true)],
    () => Promise.resolve(),
  );
  expect(results.map(({ status }) => status)).toEqual(["fail", "skipped", "skipped", "ok"]);
  expect(results[0]).toMatchObject({ found: "broken", fix: "mend it" });
});

test("what is the service's own trouble is not taken for a right that is missing", async () => {
  const named = (name: string, some: object = {}) => Object.assign(new Error("no"), { name }, some);
  const fixes = await Promise.all(
    [
      named("InternalServerError", { $fault: "server" }),
      named("ThrottlingException", { $fault: "client" }),
      named("AccessDeniedException", { $fault: "client" }),
      named("TimeoutError"),
      named("Error", { code: "ECONNREFUSED" }),
    ].map(async (error) => {
      const check = { id: "a", title: "a", fix: "grant it", run: () => Promise.reject(error) };
      return (await runChecks([check], () => Promise.resolve()))[0]?.fix;
    }),
  );
  expect(fixes).toEqual([
    expect.stringContaining("run this again"),
    expect.stringContaining("run this again"),
    "grant it",
    expect.stringContaining("does not answer"),
    expect.stringContaining("does not answer"),
  ]);
});

test("an endpoint that does not answer is named", async () => {
  const checks = environmentChecks({
    credentials: () => Promise.resolve({ accessKeyId: "AKID" }),
    endpoints: ["https://s3.example/"],
    edge: "https://edge.example",
    nowMs: () => 0,
    fetch: () => Promise.reject(new DOMException("The operation timed out.", "TimeoutError")),
  });
  const results = await runChecks(checks, () => Promise.resolve());
  expect(results.slice(1)).toMatchObject([
    { id: "clock", status: "fail", found: "https://s3.example/ does not answer: The operation timed out." },
    { id: "edge", status: "fail", fix: expect.stringContaining("--edge") },
  ]);
});

test("a changelog that is far behind is remarked", async () => {
  const store = memoryStore();
  const laid = await layDown(store, 0);
  await laid.commit([object("users", "u1", 1_000)], 2_000);
  const at = async (nowMs: number) => (await examine(store, null, nowMs))["changelog"];
  expect(await at(800_000)).toMatchObject({ status: "ok", found: expect.stringContaining("(798 s ago)") });
  expect(await at(1_000_000)).toMatchObject({ status: "warn", fix: expect.stringContaining("varve status") });
  await laid.close();
});

test.each([
  { dateMs: 10_000, askedMs: 10_300, answeredMs: 10_400, off: 0 },
  { dateMs: 10_000, askedMs: 9_900, answeredMs: 10_100, off: 0 },
  { dateMs: 10_000, askedMs: 310_999, answeredMs: 311_200, off: 300_000 },
  { dateMs: 310_000, askedMs: 9_000, answeredMs: 10_000, off: -300_000 },
])("the clock is off by $off ms", ({ dateMs, askedMs, answeredMs, off }) => {
  expect(skewMs(dateMs, askedMs, answeredMs)).toBe(off);
});
