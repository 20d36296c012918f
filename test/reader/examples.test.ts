/** What the documents show without our code, run as it stands. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import { openDuckDB } from "../../shared/duckdb.ts";
import { commitKey } from "../../shared/keys.ts";

const ROOT = join(import.meta.dirname, "../..");
const T0 = Date.UTC(2026, 10, 23, 8, 59);
const run = promisify(execFile);

const dir = await mkdtemp(join(tmpdir(), "varve-examples-"));
const root = join(dir, "changelog");
const store = openDirectoryStore(root);
let laid: Laid;

beforeAll(async () => {
  laid = await layDown(store, T0);
  await laid.commit([object("users", "u1", T0 + 1000), object("users", "u2", T0 + 2000)], T0 + 3000);
  await laid.commit(
    [
      object("users", "u1", T0 + 70_000, { op: "update" }),
      object("users", "u2", T0 + 71_000, { op: "delete", image: null }),
    ],
    T0 + 72_000,
  );
  // Beyond the watermark.
  await laid.commit([object("orders", "o1", T0 + 80_000)], T0 + 75_000);
  const env = { PATH: process.env["PATH"], VARVE_CHANGELOG: pathToFileURL(root).href };
  const listed = await run(process.execPath, [join(ROOT, "cli/main.ts"), "files", "--json"], { env });
  await writeFile(join(dir, "files.json"), listed.stdout);
});
afterAll(async () => {
  await laid.close();
  await rm(dir, { recursive: true, force: true });
});

const example = async (name: string, ...args: readonly string[]): Promise<unknown[]> => {
  const { stdout } = await run(process.execPath, [join(ROOT, "examples", name), ...args]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
};

test("examples/duckdb.mjs: since T, and the state", async () => {
  expect(await example("duckdb.mjs", join(dir, "files.json"), "2026-11-23T09:00:00Z")).toMatchObject([
    { op: "update", collection: "users", id: "u1" },
    { op: "delete", collection: "users", id: "u2" },
    { source: "shop", collection: "orders", objects: "1" },
    { source: "shop", collection: "users", objects: "1" },
  ]);
});

test("the SQL for DuckDB in docs/reading.md", async () => {
  const [, section = ""] = readFileSync(join(ROOT, "docs/reading.md"), "utf8").split("\n## DuckDB\n");
  const blocks = [...(section.split("\n## ")[0] ?? "").matchAll(/```sql\n(.*?)```/gs)].map(
    ([, sql = ""]) => sql,
  );
  expect(blocks).toHaveLength(3);
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 256 });
  try {
    await connection.run((blocks[0] ?? "").replace("files.json", join(dir, "files.json")));
    const ids = async (sql = "") =>
      (await connection.runAndReadAll(sql))
        .getRowObjects()
        .map(({ op, id }) => `${op as string} ${id as string}`);
    expect(await ids(blocks[1])).toEqual(["update u1", "delete u2"]);
    expect((await ids(blocks[2])).toSorted()).toEqual(["insert o1", "update u1"]);
  } finally {
    close();
  }
});

test("examples/follow.mjs, over a server that only has GET", async () => {
  const server = createServer((request, response) => {
    readFile(join(root, request.url ?? "")).then(
      (body) => response.end(body),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const told = (await example("follow.mjs", url, "--once")) as {
      version: number;
      url: string;
      rows: number;
    }[];
    expect(told.map(({ version, rows }) => [version, rows])).toEqual([
      [1, 2],
      [2, 2],
      [3, 1],
    ]);
    const file = await fetch(told[0]?.url ?? "");
    expect((await file.text()).slice(0, 4)).toBe("PAR1");
    expect(await example("follow.mjs", url, "2", "--once")).toMatchObject([{ version: 3 }]);
    await writeCheckpoint(store, laid.snapshot());
    expect(await example("follow.mjs", url, "--once")).toEqual([]);
    await store.delete(commitKey(2));
    await expect(example("follow.mjs", url, "1", "--once")).rejects.toMatchObject({
      stderr: expect.stringContaining("what came after version 1 is gone"),
    });
  } finally {
    server.close();
  }
});
