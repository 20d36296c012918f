/**
 * The changelog read by two Delta readers that are not ours, ClickHouse in process with delta-kernel-rs and with
 * its own: the same rows as Varve's reader, before and after a restart, with the log entries gone that the
 * checkpoint covers, and at each stage of merging, clean-up and retention. Prints `N passed, N failed`.
 */
import { readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { query } from "chdb";
import { openTargetStore, targetEnvironment } from "../../cli/target.ts";
import { LAST_CHECKPOINT_KEY, parseLogKey } from "../../shared/keys.ts";
import { openChangelog } from "../../reader/changelog.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import type { ChangeRow } from "../../reader/scan.ts";
import { makeDataDir, pause, post, settle, startSystem } from "../system/system.ts";
import type { RunningSystem } from "../system/system.ts";
import { passStages } from "./stages.ts";

/** More than a checkpoint's interval: ClickHouse's own reader takes local log entries in no order, and so needs one. */
const COMMITS = 36;
const ENGINES = [
  { name: "delta-kernel-rs", setting: 1 },
  { name: "ClickHouse's own reader", setting: 0 },
] as const;

const data = makeDataDir();
let copies = 0;
let passed = 0;
let failed = 0;

function check(name: string, actual: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a === b) {
    passed += 1;
    console.log(`  ok    ${name}`);
  } else {
    failed += 1;
    console.error(
      `  FAIL  ${name}\n        expected ${b?.slice(0, 500)}\n        but got  ${a?.slice(0, 500)}`,
    );
  }
}

async function send(system: RunningSystem, tag: string): Promise<void> {
  for (let commit = 0; commit < COMMITS; commit += 1) {
    const batch = Array.from({ length: 25 }, (_, index) => ({
      type: index % 5 === 0 ? "identify" : "track",
      messageId: `${tag}-${commit}-${index}`,
      userId: `user-${index}`,
      event: "Größe ✓",
      traits: { plan: tag, commit },
      properties: { index, big: "12345678901234567890" },
    }));
    const { status } = await post(system.running, "/v1/batch", { batch });
    if (status !== 200) throw new Error(`the edge answered ${status}`);
    await pause(180);
  }
}

/** A copy of the changelog in a folder of its own. */
async function copy(): Promise<string> {
  const store = openTargetStore(targetEnvironment({}, data.dir));
  const root = join(data.dir, `copy-${(copies += 1)}`);
  for await (const { key } of store.list("")) {
    const object = await store.get(key);
    if (object === null) continue;
    await mkdir(dirname(join(root, key)), { recursive: true });
    await writeFile(join(root, key), object.body);
  }
  store.close();
  return root;
}

/** Rows as (key, seq, op, changes, image), sorted by the first two. */
function engineRows(root: string, setting: number): string[] {
  const answer = query(
    `SELECT key, seq, op, changes, image, toUnixTimestamp64Milli(changed_at) AS ms, toString(dt) AS dt
     FROM deltaLakeLocal('${root}') ORDER BY key, seq SETTINGS allow_experimental_delta_kernel_rs = ${setting}`,
    "JSONEachRow",
  );
  return answer
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const { key, seq, op, changes, image, ms, dt } = JSON.parse(line) as Record<string, string>;
      return [key, seq, op, Number(changes), image, Number(ms), dt].join("|");
    })
    .toSorted();
}

async function rowsOf(root: string): Promise<ChangeRow[]> {
  const changelog = await openChangelog(openDirectoryStore(root));
  const rows: ChangeRow[] = [];
  for await (const batch of changelog.follow({ fromSnapshot: true, wait: false }))
    for await (const row of batch.rows) rows.push(row);
  return rows;
}

async function compare(stage: string, root: string): Promise<void> {
  const rows = await rowsOf(root);
  const ours = rows
    .map(({ key, seq, op, changes, image, changedMs }) =>
      [key, seq, op, changes, image, changedMs, new Date(changedMs).toISOString().slice(0, 10)].join("|"),
    )
    .toSorted();
  for (const { name, setting } of ENGINES)
    check(`${stage}: ${name} reads the same ${ours.length} rows`, engineRows(root, setting), ours);
}

/** The documented SQL, over a copy: since T up to W, and the latest row of each key. */
async function compareDocumented(root: string): Promise<void> {
  const rows = await rowsOf(root);
  const times = rows.map(({ changedMs }) => changedMs).toSorted((a, b) => a - b);
  // The documents' times are whole seconds.
  const second = (ms: number): number => Math.floor(ms / 1000) * 1000;
  const [sinceMs, untilMs] = [second(times[Math.floor(times.length / 3)] ?? 0), second(times.at(-1) ?? 0)];
  const [since = "", latest = ""] = documentedSql("ClickHouse");
  const asked = (sql: string): Record<string, string>[] =>
    query(
      sql
        .replaceAll(/deltaLake\('[^']*'\)/g, `deltaLakeLocal('${root}')`)
        .replaceAll("2026-11-23 09:00:00", sqlTime(sinceMs))
        .replaceAll("2026-11-23 10:00:00", sqlTime(untilMs)),
      "JSONEachRow",
    )
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, string>);

  const between = rows.filter(({ changedMs }) => changedMs > sinceMs && changedMs <= untilMs);
  check(
    "the documented SQL for since T",
    sorted(asked(since).map((row) => `${row["op"]} ${row["id"]}`)),
    sorted(between.map(({ op, id }) => `${op} ${id}`)),
  );

  const states = new Map<string, (typeof rows)[number]>();
  for (const row of rows.toSorted((a, b) => a.changedMs - b.changedMs || (a.seq < b.seq ? -1 : 1)))
    states.set(row.key, row);
  const live = [...states.values()].filter(({ op }) => op !== "delete");
  check(
    "the documented SQL for the latest row of each key",
    sorted(asked(latest).map((row) => `${row["key"]} ${row["image"]}`)),
    sorted(live.map(({ key, image }) => `${key} ${image}`)),
  );
}

const sorted = (lines: readonly string[]): string[] => lines.toSorted();
const sqlTime = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

function documentedSql(section: string): string[] {
  const document = readFileSync(join(import.meta.dirname, "../../docs/reading.md"), "utf8");
  const [, after = ""] = document.split(`\n## ${section}\n`);
  return [...(after.split("\n## ")[0] ?? "").matchAll(/```sql\n(.*?)```/gs)].map(([, sql = ""]) => sql);
}

let system = await startSystem(data.dir, ["--flush", "100ms"]);
process.chdir(data.dir);
try {
  await send(system, "first");
  await settle(data.dir);
  await compare("before a restart", await copy());

  await system.stop();
  system = await startSystem(data.dir, ["--flush", "100ms"]);
  await send(system, "second");
  await settle(data.dir);
  const root = await copy();
  await compare("after a restart", root);
  await compareDocumented(root);

  const names = await readdir(join(root, "_delta_log"));
  const keys = names.map((name) => parseLogKey(`_delta_log/${name}`)).filter((key) => key !== null);
  const checkpoint = Math.max(
    ...keys.filter(({ kind }) => kind === "checkpoint").map(({ version }) => version),
  );
  check(
    "there is a checkpoint",
    names.includes(LAST_CHECKPOINT_KEY.replace("_delta_log/", "")) && checkpoint >= 30,
    true,
  );
  for (const name of names) {
    const key = parseLogKey(`_delta_log/${name}`);
    if (key?.kind === "commit" && key.version < checkpoint) await rm(join(root, "_delta_log", name));
  }
  await compare("with the entries before the checkpoint gone", root);
  await passStages(join(data.dir, "stages"), (stage) => compare(stage, join(data.dir, "stages")));
} finally {
  await system.stop();
  process.chdir("/");
  data.remove();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
