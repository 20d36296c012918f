/** `varve changes` and `varve files` as a person runs them, over a changelog in a directory. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import type { Ended } from "../support/varve.ts";
import { runVarve } from "../support/varve.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const T0 = Date.UTC(2026, 10, 20, 12);
const dir = await mkdtemp(join(tmpdir(), "varve-cli-"));
const address = pathToFileURL(dir).href;
let laid: Laid;

beforeAll(async () => {
  laid = await layDown(openDirectoryStore(dir), T0);
  await laid.commit(
    [
      object("users", "u1", T0 + 1000, {
        image: '{"name":"Ada, \\"the\\" first","big":12345678901234567890}',
      }),
      object("users", "u2", T0 + 1000),
    ],
    T0 + 2000,
  );
  await laid.commit(
    [
      object("users", "u1", T0 + 3000, { op: "update" }),
      object("orders", "o1", T0 + 4000, { event: "", eventMs: T0 }),
      {
        changedMs: T0 + 5000,
        key: '{"pk":"r#shop#r1"}',
        kind: "rejected",
        collection: "rejected",
        id: "r1",
        image:
          '{"reason":{"code":"missing_event","message":"event must be a string"},"event":{"userId":"u"}}',
      },
    ],
    T0 + 6000,
  );
});
afterAll(async () => {
  await laid.close();
  await rm(dir, { recursive: true, force: true });
});

/** stdout byte by byte, since it may be a file. */
const varve = (...args: readonly string[]): Promise<Ended> =>
  runVarve(args, { PATH: process.env["PATH"], VARVE_CHANGELOG: address }, "latin1");

const SINCE = ["changes", "--since", "2026-11-20T12:00:00Z"] as const;
const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

describe("changes", () => {
  test("says how much was read of how much, and the next T", async () => {
    const { code, stdout, stderr } = await varve(...SINCE, "--collection", "orders");
    expect(code).toBe(0);
    expect(lines(stdout)).toHaveLength(2);
    expect(stderr).toContain("1 row in (2026-11-20T12:00:00.000Z, 2026-11-20T12:00:06.000Z]");
    expect(stderr).toMatch(/read 1 of 2 files, [\d,]+ of [\d,]+ bytes, in 1 request\n/);
    expect(stderr).toContain("next: --since 2026-11-20T12:00:06.000Z");
  });

  test("json: a line a row, numbers as they were; --json is short for it", async () => {
    const { stdout } = await varve(...SINCE, "--format", "json", "--id", "u1", "--op", "insert");
    expect(stdout).toContain('"image":{"name":"Ada, \\"the\\" first","big":12345678901234567890}');
    expect(JSON.parse(stdout)).toMatchObject({ op: "insert", key: { pk: "o#shop#users#u1" } });
    expect((await varve(...SINCE, "--json", "--id", "u1", "--op", "insert")).stdout).toBe(stdout);
  });

  test("csv: quoted where it must be, null and empty text apart", async () => {
    const rows = lines((await varve(...SINCE, "--format", "csv")).stdout);
    expect(rows[0]).toBe(
      "changed_at,changed_ms,op,key,seq,shard,changes,kind,source,collection,id,user_id,anonymous_id,event,event_at,image",
    );
    expect(rows[1]).toContain('"{""pk"":""o#shop#users#u1""}"');
    expect(rows[1]).toContain('"{""name"":""Ada, \\""the\\"" first"",""big"":12345678901234567890}"');
    expect(rows[4]).toContain(',o1,,,"",2026-11-20T12:00:00.000Z,');
    expect(rows).toHaveLength(6);
  });

  test("parquet: the rows in order, with the files' columns", async () => {
    const { stdout } = await varve(...SINCE, "--format", "parquet");
    const path = join(dir, "..", `${process.pid}.parquet`);
    await writeFile(path, Buffer.from(stdout, "latin1"));
    const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 128 });
    try {
      const answer = await connection.runAndReadAll(
        `SELECT id, changed_ms::DOUBLE, epoch_ms(changed_at)::DOUBLE, event FROM read_parquet(${sqlText(path)})`,
      );
      expect(answer.getRows()).toEqual([
        ["u1", T0 + 1000, T0 + 1000, null],
        ["u2", T0 + 1000, T0 + 1000, null],
        ["u1", T0 + 3000, T0 + 3000, null],
        ["o1", T0 + 4000, T0 + 4000, ""],
        ["r1", T0 + 5000, T0 + 5000, null],
      ]);
    } finally {
      close();
      await rm(path);
    }
  });

  test("--limit stops there, and the next T leaves nothing out", async () => {
    const cut = await varve(...SINCE, "--json", "--limit", "3");
    expect(lines(cut.stdout)).toHaveLength(3);
    expect(cut.stderr).toContain("there are more");
    expect(cut.stderr).toContain("next: --since 2026-11-20T12:00:03.000Z");
    const early = await varve(...SINCE, "--json", "--limit", "1");
    expect(early.stderr).toContain("next: --since 2026-11-20T12:00:00.000Z");
    expect(early.stderr).toContain("take a greater --limit");
    expect(cut.stderr).not.toContain("take a greater --limit");
    const whole = await varve(...SINCE, "--json", "--limit", "5");
    expect(whole.stderr).toContain("5 rows in");
  });

  test("--rejected is what was refused; by version", async () => {
    const { stdout } = await varve("changes", "--since", "1", "--json", "--rejected");
    expect(lines(stdout).map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(["r1"]);
    const table = await varve("changes", "--since", "1", "--rejected");
    expect(table.stdout).toMatch(/rejected +missing_event: event must be a string +r1\n/);
  });

  test.each([
    [["--collection", "ordres"], 'there is no collection "ordres"', "The nearest: orders"],
    [["--source", "shoop"], 'there is no source "shoop"', "The nearest: shop"],
  ])("%j lists the near ones", async (args, what, near) => {
    const { code, stdout, stderr } = await varve(...SINCE, ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(what);
    expect(stderr).toContain(near);
  });

  test("no rows of what is there: the header alone, and an empty Parquet file", async () => {
    const none = [...SINCE, "--collection", "users", "--op", "delete"];
    const csv = await varve(...none, "--format", "csv");
    expect(csv).toMatchObject({ code: 0, stdout: expect.stringMatching(/^changed_at,[\w,]+\n$/) });
    expect((await varve(...none, "--format", "parquet")).stdout.slice(0, 4)).toBe("PAR1");
  });

  test.each([
    ["2099-01-01", 1, "is in the future"],
    ["2020-01-01", 0, "note: the changelog begins at 2026-11-20T12:00:00.000Z"],
    ["2026-11-20T13:00:00Z", 0, "note: the changelog is complete up to 2026-11-20T12:00:06.000Z"],
  ])("since %s", async (since, code, says) => {
    const ended = await varve("changes", "--since", since);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(says);
  });

  test.each([
    [["--op", "upsert"], "--op takes insert, update or delete"],
    [["--format", "xml"], "--format takes table, json, csv, parquet"],
    [["--format", "csv", "--json"], "exclude each other"],
    [["--limit", "0"], "--limit takes a whole number"],
    [["--consumer", "x"], "goes with --follow"],
    [["--follow", "--until", "1h"], "--until does not go with --follow"],
    [["--follow", "--format", "parquet"], "parquet does not go with --follow"],
  ])("%j is misuse", async (args, says) => {
    const { code, stderr } = await varve(...SINCE, ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(says);
  });
});

test("changes --follow gives rows with their version, goes on where it was, and ends at SIGTERM", async () => {
  const cursor = join(dir, "..", `${process.pid}-cursor.json`);
  const start = () => {
    const env = { PATH: process.env["PATH"], VARVE_CHANGELOG: address };
    const child = spawn(process.execPath, [CLI, "changes", "--follow", "--cursor", cursor, "--json"], {
      env,
    });
    const seen: { version: number; id: string }[] = [];
    const waiting: { count: number; resolve: () => void }[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => {
      seen.push(JSON.parse(line) as { version: number; id: string });
      for (const one of waiting) if (seen.length >= one.count) one.resolve();
    });
    return {
      seen,
      rows: (count: number) =>
        new Promise<void>((resolve) => {
          if (seen.length >= count) resolve();
          waiting.push({ count, resolve });
        }),
      stop: async () => {
        child.kill("SIGTERM");
        return new Promise<number | null>((resolve) => {
          child.once("exit", resolve);
        });
      },
    };
  };
  const first = start();
  await first.rows(5);
  expect(new Set(first.seen.map(({ version }) => version))).toEqual(new Set([2]));
  await laid.commit([object("users", "u7", T0 + 7000)], T0 + 7000);
  await first.rows(6);
  expect(first.seen.at(-1)).toMatchObject({ version: 3, id: "u7" });
  expect(await first.stop()).toBe(0);
  expect(JSON.parse(await readFile(cursor, "utf8"))).toMatchObject({ changelog: "laid" });

  await laid.commit([object("users", "u8", T0 + 8000)], T0 + 8000);
  const second = start();
  await second.rows(1);
  // At least once: the last commit may come again, none is left out.
  while (second.seen.at(-1)?.id !== "u8") await second.rows(second.seen.length + 1);
  expect(await second.stop()).toBe(0);
  expect(second.seen.map(({ version }) => version)).not.toContain(2);
  await rm(cursor);
});

test("files lists what a program can open itself", async () => {
  const { stdout, stderr } = await varve("files", "--json");
  const paths = lines(stdout).map((line) => (JSON.parse(line) as { path: string }).path);
  expect(paths).toHaveLength(laid.snapshot().files.size);
  for (const path of paths) expect((await readFile(path)).subarray(0, 4).toString()).toBe("PAR1");
  expect(stderr).toContain("complete up to 2026-11-20T12:00:0");
});

test.each([
  [["--json", "--urls"], 1, "Leave --urls out"],
  [["--urls"], 2, "--urls goes with --json"],
])("files %j: a directory has no URLs, a table no room for them", async (args, code, says) => {
  const ended = await varve("files", ...args);
  expect(ended).toMatchObject({ code, stdout: "", stderr: expect.stringContaining(says) });
});

test("status: sizes in the unit that fits", async () => {
  const { code, stdout } = await varve("status");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^files {6}level 0: \d files, [\d.]+ KB\n {11}level 1: 0 files, 0 B$/m);
});

test.each([
  [[], "--items, --item-bytes, --changes-per-second are needed"],
  [["--items", "1M", "--item-bytes", "900"], "--changes-per-second is needed"],
])("cost %j is misuse", async (args, says) => {
  const { code, stderr } = await varve("cost", ...args);
  expect(code).toBe(2);
  expect(stderr).toContain(says);
  expect(stderr).toContain("varve cost --help");
});
