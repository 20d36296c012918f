/** From a real SDK to both kinds of warehouse, through everything, while the syncs are killed: each event is there once. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Analytics } from "@segment/analytics-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestPostgres } from "../../bench/postgres.ts";
import { startPostgres } from "../../bench/postgres.ts";
import type { DemoCall } from "../../local/demo-events.ts";
import { demoCalls } from "../../local/demo-events.ts";
import type { Kind, Rows } from "../reader/warehouse/world.ts";
import { KINDS, queryDuckDB, queryPostgres } from "../reader/warehouse/world.ts";
import type { RunningSystem } from "./system.ts";
import { allRows, makeDataDir, pause, settle, startSystem } from "./system.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const SEED = 7;
const EVENTS = 1200;
const WAVE = 100;
const KILLS = 3;

const data = makeDataDir();
let system: RunningSystem;
let postgres: TestPostgres;
let targets: Readonly<Record<Kind, string>>;

beforeAll(async () => {
  [system, postgres] = await Promise.all([startSystem(data.dir, ["--flush", "300ms"]), startPostgres()]);
  targets = { duckdb: join(data.dir, "warehouse.duckdb"), postgres: await postgres.database() };
});
afterAll(async () => {
  await Promise.all([system.stop(), postgres.stop()]);
  data.remove();
});

const query = (kind: Kind, sql: string): Promise<Rows> =>
  kind === "duckdb" ? queryDuckDB(targets.duckdb, sql) : queryPostgres(targets.postgres, sql);

function startSync(kind: Kind, options: readonly string[]) {
  const child = spawn(process.execPath, [CLI, "sync", kind, targets[kind], "--data", data.dir, ...options], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  return { child, exited: once(child, "exit"), said: () => said };
}

async function killSyncs(kind: Kind): Promise<void> {
  for (let kill = 0; kill < KILLS; kill += 1) {
    const { child, exited } = startSync(kind, ["--follow"]);
    await pause(400 + Math.random() * 2200);
    child.kill("SIGKILL");
    await exited;
  }
}

async function sendAll(calls: readonly DemoCall[]): Promise<void> {
  const { writeKey, endpoint } = system.running;
  const analytics = new Analytics({ writeKey, host: endpoint, flushAt: 50, maxRetries: 10 });
  const failed: unknown[] = [];
  analytics.on("error", (error) => failed.push(error));
  for (const [index, call] of calls.entries()) {
    const send = analytics[call.type].bind(analytics) as (message: object) => void;
    send({ ...call, messageId: `m-${index}` });
    if ((index + 1) % WAVE !== 0) continue;
    await analytics.flush();
    await pause(200);
  }
  await analytics.closeAndFlush();
  expect(failed).toEqual([]);
}

/** A call as the rows that it is in each table, without times and context. */
function rowsOf(call: DemoCall, id: string): Record<string, Record<string, unknown>> {
  const anonymous_id = "anonymousId" in call ? call.anonymousId : null;
  const row = { id, user_id: "userId" in call ? call.userId : null, anonymous_id };
  switch (call.type) {
    case "track": {
      const { orderId, ...properties } = call.properties;
      const event = call.event.toLowerCase().replaceAll(" ", "_");
      const track = { ...row, event, event_text: call.event };
      const own = { ...track, ...properties, ...(orderId === undefined ? {} : { order_id: orderId }) };
      return { tracks: track, [event]: own };
    }
    case "identify":
      return { identifies: { ...row, ...call.traits } };
    case "group":
      return { groups: { ...row, group_id: call.groupId, ...call.traits } };
    case "page":
      return { pages: { ...row, name: call.name, ...call.properties } };
    case "screen":
      return { screens: { ...row, name: call.name, ...call.properties } };
    case "alias":
      return { aliases: { ...row, previous_id: call.previousId } };
  }
}

/** A table's rows by id; a value that did not fit its column is taken from the discards. */
async function readTable(kind: Kind, schema: string, table: string): Promise<Rows> {
  const rows = await query(kind, `SELECT * FROM ${schema}.${table}`);
  const discards = await query(
    kind,
    `SELECT id, column_name, column_value FROM ${schema}.discards WHERE table_name = '${table}'`,
  );
  const rowOf = new Map(rows.map((row) => [row["id"], row]));
  for (const { id, column_name, column_value } of discards) {
    const row = rowOf.get(id) ?? {};
    expect(row[String(column_name)]).toBeNull();
    row[String(column_name)] = column_value;
  }
  return rows;
}

const texts = (row: Record<string, unknown>, names: Iterable<string>): Record<string, string> =>
  Object.fromEntries([...names].map((name) => [name, textOf(row[name] ?? "")]));

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

test("1,200 calls of analytics-node are in DuckDB and in PostgreSQL once each, with their values", async () => {
  const calls = [...demoCalls(SEED, EVENTS)];
  await Promise.all([sendAll(calls), ...KINDS.map(killSyncs)]);
  await settle(data.dir);
  const last = KINDS.map((kind) => startSync(kind, []));
  for (const { exited, said } of last) {
    const [code] = (await exited) as [number | null];
    expect({ code, said: said() }).toEqual({ code: 0, said: "" });
  }

  const expected = new Map<string, Record<string, unknown>[]>();
  for (const [index, call] of calls.entries()) {
    for (const [table, row] of Object.entries(rowsOf(call, `m-${index}`))) {
      expected.set(table, [...(expected.get(table) ?? []), row]);
    }
  }
  expect(expected.size).toBeGreaterThan(9);
  const users = new Map<string | null, Record<string, unknown>>();
  for (const { kind, collection, id, image } of await allRows(data.dir)) {
    if (kind === "object" && collection === "users")
      users.set(id, { id, ...(JSON.parse(image ?? "{}") as object) });
  }
  expect(users.size).toBeGreaterThan(100);
  for (const kind of KINDS) {
    const [source] = await query(kind, "SELECT given FROM _varve_names WHERE kind = 'source'");
    const schema = String(source?.["given"]);
    for (const [table, rows] of [...expected, ["users", [...users.values()]] as const]) {
      const names = new Set(rows.flatMap((row) => Object.keys(row)));
      const found = await readTable(kind, schema, table);
      const sorted = (some: readonly Rows[number][]) => some.map((row) => texts(row, names)).toSorted(byId);
      expect(sorted(found), `${kind} ${table}`).toEqual(sorted(rows));
    }
  }
}, 120_000);

const byId = ({ id: a = "" }: Record<string, string>, { id: b = "" }: Record<string, string>): number =>
  a < b ? -1 : a > b ? 1 : 0;
