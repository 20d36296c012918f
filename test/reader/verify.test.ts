/** Each fault is planted in a sound changelog, and must be found and named. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";
import { cleanLog } from "../../compactor/upkeep.ts";
import { checkRepeats, createSeen } from "../../reader/verify-files.ts";
import type { Problem, Report, TableReader, VerifyOptions } from "../../reader/verify.ts";
import { verify } from "../../reader/verify.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import { attributeMapJson } from "../../shared/item.ts";
import type { AttributeMap } from "../../shared/item.ts";
import { commitKey } from "../../shared/keys.ts";
import { T0 } from "../fakes/changes.ts";
import type { MemoryStore } from "../fakes/store.ts";
import { memoryStore } from "../fakes/store.ts";

let store: MemoryStore;
let laid: Laid;
let dir: string;
/** The data file of each version, from 1 on. */
let paths: string[];

const COMMITS = 6;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "varve-verify-"));
  store = memoryStore(() => T0);
  laid = await layDown(store, T0);
  paths = [""];
  for (let version = 1; version <= COMMITS; version += 1) {
    const ms = T0 + version * 1000;
    const before = new Set(laid.snapshot().files.keys());
    const rows = ["a", "b", "c"].map((name) => object("users", `${name}${version}`, ms));
    const { files } = await laid.commit(rows, ms);
    paths.push([...files.keys()].find((path) => !before.has(path)) ?? "");
  }
});
afterEach(async () => {
  await laid.close();
  await rm(dir, { recursive: true, force: true });
});

const OPTIONS: VerifyOptions = {
  nowMs: () => T0 + 60_000,
  sleep: async () => undefined,
  dedupeMs: 1000,
  settleMs: 0,
};
const run = (options: Partial<VerifyOptions> = {}): Promise<Report> =>
  verify(store, { ...OPTIONS, ...options });

const text = (key: string): string => new TextDecoder().decode(store.objects.get(key)?.body);
const put = async (key: string, body: string | Uint8Array): Promise<void> => {
  await store.put(key, typeof body === "string" ? new TextEncoder().encode(body) : body, { kind: "always" });
};

/** An entry with something replaced in it. */
async function alter(version: number, from: string | RegExp, to: string): Promise<void> {
  const before = text(commitKey(version));
  const after = before.replace(from, to);
  expect(after).not.toBe(before);
  await put(commitKey(version), after);
}

/** A version's file with other rows; the entry is made to vouch for its bytes, so that only its rows can tell. */
async function rewrite(version: number, select: (relation: string) => string): Promise<void> {
  const path = paths[version] ?? "";
  const body = store.objects.get(path)?.body ?? new Uint8Array();
  const [input, output] = [join(dir, "in.parquet"), join(dir, "out.parquet")];
  await writeFile(input, body);
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 128 });
  await connection.run(
    `COPY (${select(`read_parquet(${sqlText(input)})`)}) TO ${sqlText(output)} (FORMAT parquet, COMPRESSION zstd)`,
  );
  close();
  const bytes = await readFile(output);
  await put(path, bytes);
  await alter(version, `"size":${body.byteLength},`, `"size":${bytes.byteLength},`);
  await alter(
    version,
    /"sha256":"[0-9a-f]+"/,
    `"sha256":"${createHash("sha256").update(bytes).digest("hex")}"`,
  );
}

const found = (kind: string, where: string, what: string) =>
  expect.objectContaining({
    kind,
    where: expect.stringContaining(where),
    what: expect.stringContaining(what),
  });

test("nothing planted, nothing found", async () => {
  const report = await run();
  expect(report).toMatchObject({
    problems: [],
    version: COMMITS,
    commits: COMMITS + 1,
    rows: 18,
    files: COMMITS,
  });
});

describe("planted in the files", () => {
  test("a missing file", async () => {
    await store.delete(paths[2] ?? "");
    expect((await run()).problems).toContainEqual(found("file_missing", paths[2] ?? "", "not in the store"));
  });

  test("a truncated file", async () => {
    const body = store.objects.get(paths[3] ?? "")?.body ?? new Uint8Array();
    await put(paths[3] ?? "", body.slice(0, -100));
    const { problems } = await run();
    expect(problems).toContainEqual(
      found(
        "file_damaged",
        paths[3] ?? "",
        `${body.byteLength - 100} bytes, the log says ${body.byteLength}`,
      ),
    );
  });

  test("a byte changed", async () => {
    const body = store.objects.get(paths[3] ?? "")?.body.slice() ?? new Uint8Array();
    body[40] = (body[40] ?? 0) ^ 1;
    await put(paths[3] ?? "", body);
    expect((await run()).problems).toContainEqual(found("file_damaged", paths[3] ?? "", "checksum"));
  });

  test("a row lost", async () => {
    await rewrite(2, (relation) => `SELECT * FROM ${relation} WHERE id <> 'b2'`);
    expect((await run()).problems).toContainEqual(found("rows", paths[2] ?? "", "1 row is lost"));
  });

  test("a row doubled", async () => {
    await rewrite(
      2,
      (relation) => `SELECT * FROM ${relation} UNION ALL SELECT * FROM ${relation} WHERE id = 'b2'`,
    );
    const { problems } = await run();
    expect(problems).toContainEqual(found("rows", paths[2] ?? "", "1 row is too many"));
    expect(problems).toContainEqual(found("row_doubled", '{"pk":"o#shop#users#b2"}', "2 times"));
  });

  test("a row in place of another", async () => {
    await rewrite(
      2,
      (relation) =>
        `SELECT * REPLACE (CASE id WHEN 'b2' THEN '{"pk":"x"}' ELSE key END AS key) FROM ${relation}`,
    );
    expect((await run()).problems).toContainEqual(
      found("rows", paths[2] ?? "", "not those that were committed"),
    );
  });

  test("rows that statistics would have readers pass over", async () => {
    await rewrite(2, (relation) => `SELECT * REPLACE ('zebras' AS collection) FROM ${relation}`);
    expect((await run()).problems).toContainEqual(
      found("rows", paths[2] ?? "", "a collection outside of its statistics"),
    );
  });

  test("a row committed twice, all totals in order", async () => {
    const again = object("users", "b2", T0 + 9000, { seq: "5" as never });
    await laid.commit([again], T0 + 9000);
    expect((await run()).problems).toContainEqual(
      found("row_doubled", '{"pk":"o#shop#users#b2"}', "2 times"),
    );
  });
});

describe("planted in the log", () => {
  test.each([
    ["a position", 3, /\\"seq\\":\\"9\\"/, '\\"seq\\":\\"8\\"', "version 4", "invariant 2"],
    ["a row count", 3, /numRecords\\":3/, 'numRecords\\":4', "version 3", "invariant 5"],
    ["a set checksum", 3, /"setsum":"./, '"setsum":"x', "version 3", "invariant 5"],
    ["a partition", 3, /"dt":"2026-11-23"/, '"dt":"2026-11-22"', "version 3", "partition"],
    ["a watermark", 3, /\\"watermarkMs\\":\d/, '\\"watermarkMs\\":9', "version 3", "invariant 4"],
    ["a file's name", 3, /-f3\.parquet/, "-f9.parquet", "-f9.parquet", "not in the store"],
    ["what it says of itself", 3, /numOutputRows":"3"/, 'numOutputRows":"4"', "version 3", "it was altered"],
    ["its timestamp", 3, /"timestamp":1/, '"timestamp":2', "version 3", "it was altered"],
    ["a space", 3, /,"add"|\{"add"/, '{ "add"', "version 3", "it was altered"],
    ["version 0", 0, /"createdTime":1/, '"createdTime":2', "version 0", "it was altered"],
    ["its text", 3, /"add"/, '"addd"', "version 3", "cannot be read"],
    [
      "a position at the tip",
      COMMITS,
      /\\"seq\\":\\"18\\"/,
      '\\"seq\\":\\"17\\"',
      "version 6",
      "rows up to 18",
    ],
  ] as const)("an entry altered: %s", async (_, version, from, to, where, what) => {
    await alter(version, from, to);
    const { problems } = await run();
    expect(problems).toContainEqual(
      expect.objectContaining({
        where: expect.stringContaining(where),
        what: expect.stringContaining(what),
      }),
    );
  });

  test("an entry that a checkpoint contradicts", async () => {
    await writeCheckpoint(store, laid.snapshot());
    // Lower than it was, which no invariant forbids.
    await alter(COMMITS, /\\"watermarkMs\\":\d+/, `\\"watermarkMs\\":${T0 + 5500}`);
    expect((await run()).problems).toContainEqual(found("checkpoint", "checkpoint 6", "totals or watermark"));
  });

  test("entries without a hash of the one before are accepted", async () => {
    for (let version = 1; version <= COMMITS; version += 1) {
      await alter(version, /,"previousSha256":"[0-9a-f]{64}"/, "");
    }
    expect((await run()).problems).toEqual([]);
  });

  test("a kept checkpoint's own entry altered", async () => {
    await writeCheckpoint(store, laid.snapshot());
    await laid.commit([object("users", "late", T0 + 9000)], T0 + 9000);
    await cleanLog(store, T0 + 1);
    await alter(COMMITS, /numOutputRows":"3"/, 'numOutputRows":"4"');
    expect((await run()).problems).toEqual([found("log_entry", "version 6", "it was altered")]);
  });

  test("an entry missing", async () => {
    await store.delete(commitKey(4));
    expect((await run()).problems).toContainEqual(found("log_entry", "version 5", "invariant 1"));
  });

  test("entries that clean-up took are not missed", async () => {
    await writeCheckpoint(store, laid.snapshot());
    await laid.commit([object("users", "late", T0 + 9000)], T0 + 9000);
    expect(await cleanLog(store, T0 + 1)).toBe(COMMITS);
    expect(await run()).toMatchObject({ problems: [], fromCheckpoint: COMMITS, commits: 1, rows: 19 });
  });
});

describe("against the table", () => {
  const item = (id: string, ms: number): AttributeMap => ({
    pk: { S: `o#shop#users#${id}` },
    kind: { S: "object" },
    source: { S: "shop" },
    "p.id": { S: id },
    "p.n": { N: String(ms) },
  });
  const keyOf = ({ pk }: AttributeMap): string => attributeMapJson({ pk: pk ?? { NULL: true } });
  const tableOf = (items: readonly AttributeMap[]): TableReader => ({
    name: "items",
    keyOf,
    scan: async function* () {
      yield items;
    },
    sample: async function* (count) {
      yield items.slice(0, count);
    },
    read: async (keys) =>
      new Map(items.filter((one) => keys.includes(keyOf(one))).map((one) => [keyOf(one), one])),
  });
  // The watermark is beyond the time at which the table is read.
  beforeEach(() => laid.commit([], T0 + 70_000));
  const whole = (): AttributeMap[] =>
    Array.from({ length: COMMITS }, (_, index) =>
      ["a", "b", "c"].map((name) => item(`${name}${index + 1}`, T0 + (index + 1) * 1000)),
    ).flat();

  test("whole, and by a sample", async () => {
    expect(await run({ table: tableOf(whole()) })).toMatchObject({
      problems: [],
      table: { items: 18, keys: 18 },
    });
    const { table, problems } = await run({ table: tableOf(whole()), sample: 6 });
    expect(problems).toEqual([]);
    expect(table).toMatchObject({ items: 6, sampled: 6, keys: 18 });
  });

  test("an item that the scan met first is waited for, also where its row is merged meanwhile", async () => {
    let nowMs = T0 + 100_000;
    const late = T0 + 90_000;
    const sleep = async (): Promise<void> => {
      nowMs += 10_000;
      if (laid.snapshot().log.watermarkMs >= late) return;
      await laid.commit([object("users", "d1", late)], late);
      await laid.commit([], T0 + 3_600_000);
      await laid.merge();
    };
    const items = [...whole(), item("d1", late)];
    const report = await run({ table: tableOf(items), settleMs: 50_000, nowMs: () => nowMs, sleep });
    expect(report).toMatchObject({ problems: [], table: { items: 19, keys: 19 } });
    expect([...laid.snapshot().files.values()].map(({ level }) => level)).not.toContain(0);
  });

  test("keys that differ in masses are counted, and the first of them named", async () => {
    const others = Array.from({ length: 10_050 }, (_, index) =>
      item(`x${String(index).padStart(5, "0")}`, T0),
    );
    const { problems } = await run({ table: tableOf([...whole(), ...others]) });
    expect(problems).toHaveLength(21);
    expect(problems[0]).toMatchObject({ kind: "table", where: expect.stringContaining("x00000") });
    expect(problems.at(-1)).toEqual({ kind: "table", what: "10,030 more like these", where: "" });
  });

  describe("that the changelog is behind", () => {
    let nowMs: number;
    beforeEach(() => {
      nowMs = T0 + 100_000;
    });
    const wait = (each: () => Promise<unknown> = async () => undefined) => ({
      settleMs: 60_000,
      nowMs: () => nowMs,
      sleep: async () => {
        nowMs += 10_000;
        await each();
      },
    });

    test("what is missing may be on its way: that is said, and not that it is lost", async () => {
      const items = [...whole().slice(1), item("d1", T0 + 90_000), item("d2", T0 + 90_000)];
      for (const sample of [undefined, 1000]) {
        const { problems } = await run({ table: tableOf(items), sample, ...wait() });
        expect(problems).toEqual([
          {
            kind: "table_ahead",
            where: "",
            what: expect.stringMatching(
              `^3 keys differ .* complete up to ${new Date(T0 + 70_000).toISOString()}`,
            ),
          },
        ]);
      }
    });

    test("once it has caught up, only what is really missing is told, without waiting longer", async () => {
      const beganMs = nowMs;
      const catchUp = async () => {
        if (laid.snapshot().log.watermarkMs > T0 + 70_000) return;
        await laid.commit([object("users", "d1", T0 + 90_000)], T0 + 3_600_000);
      };
      const items = [...whole(), item("d1", T0 + 90_000), item("d2", T0 + 90_000)];
      const { problems } = await run({ table: tableOf(items), ...wait(catchUp) });
      expect(problems).toEqual([found("table", "o#shop#users#d2", "no row of it is in the changelog")]);
      expect(nowMs - beganMs).toBe(10_000);
    });

    test("a key that keeps changing is no fault", async () => {
      const change = () => laid.commit([object("users", "hot", nowMs - 1_000)], nowMs);
      // Each time it is read, it is as it was before the change that the changelog tells of.
      const items = [...whole(), item("hot", 0)];
      const { problems } = await run({ table: tableOf(items), ...wait(change) });
      expect(problems).toEqual([]);
    });
  });

  test("a log that cannot be read on does not keep the rest from being told", async () => {
    await put(commitKey(COMMITS + 2), "hello");
    const items = [...whole(), item("d1", T0)];
    const options = { settleMs: 1000, nowMs: () => T0 + 100_000 };
    expect((await run({ table: tableOf(items), ...options })).problems).toEqual([
      found("log_entry", "version 8", "cannot be read"),
      found("table_ahead", "", "1 key differs"),
    ]);
  });

  test.each([
    ["lost in the changelog", [...whole(), item("d1", T0)], "d1", "no row of it is in the changelog"],
    ["lost in the table", whole().slice(1), "a1", "no delete was recorded"],
    ["differing", [item("a1", 7), ...whole().slice(1)], "a1", "differs from the item"],
  ] as const)("%s", async (_, items, id, what) => {
    for (const sample of [undefined, 1000]) {
      const { problems } = await run({ table: tableOf(items), sample });
      expect(problems).toEqual([found("table", `o#shop#users#${id}`, what)]);
    }
  });
});

test("repeats are found whatever parts the rows are held against each other in", async () => {
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 256 });
  await createSeen(connection);
  await connection.run(
    `INSERT INTO seen SELECT 'k' || (i % 60), 0, (i // 80)::VARCHAR, 's', 'insert', 'event', NULL FROM range(100) t(i)`,
  );
  const problemsIn = async (rowsAPart: number): Promise<Problem[]> => {
    const problems: Problem[] = [];
    await checkRepeats(connection, 1000, problems, rowsAPart);
    return problems;
  };
  const whole = await problemsIn(1_000_000);
  expect(whole.length).toBeGreaterThan(2);
  expect(await problemsIn(7)).toEqual(whole);
  close();
});
