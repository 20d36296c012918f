/** What a person is told of a file that cannot be a warehouse. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, expect, test } from "vitest";
import { openDuckDBWarehouse } from "../../../reader/warehouse/duckdb.ts";

const dir = mkdtempSync(join(tmpdir(), "varve-blocked-"));
afterAll(() => rmSync(dir, { recursive: true }));

async function open(file: string): Promise<unknown> {
  const instance = await DuckDBInstance.create();
  const scratch = await instance.connect();
  try {
    return await openDuckDBWarehouse(scratch, file);
  } finally {
    scratch.closeSync();
    instance.closeSync();
  }
}

test("a folder that is not there, whatever its name has in it", async () => {
  await expect(open(join(dir, "none/lock.duckdb"))).rejects.toMatchObject({
    code: "warehouse_unreachable",
    fix: expect.stringContaining("in a folder that exists"),
  });
});

test("a file that is not DuckDB's", async () => {
  const file = join(dir, "notes.txt");
  writeFileSync(file, "a file of notes\n".repeat(1000));
  await expect(open(file)).rejects.toMatchObject({ code: "warehouse_unreachable" });
});
