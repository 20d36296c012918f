// What changed since T, and the state now, with DuckDB over the files that `varve files --json` lists.
//
//     varve files --json --urls > files.json     (of a changelog in a directory without --urls)
//     node examples/duckdb.mjs files.json 2026-11-23T09:00:00Z
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";

const [list = "files.json", since = "1970-01-01T00:00:00Z"] = process.argv.slice(2);
const lines = readFileSync(list, "utf8").split("\n");
const files = lines.filter((line) => line !== "").map((line) => JSON.parse(line));

// A URL is good for an hour, for whoever has it. (DuckDB's httpfs reads files in S3 itself, where it can be installed.)
const folder = mkdtempSync(join(tmpdir(), "varve-files-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
for (const file of files.filter(({ url }) => url !== undefined)) {
  file.path = join(folder, basename(file.path));
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${basename(file.path)}: HTTP ${answer.status}. List the files anew.`);
  await writeFile(file.path, answer.body);
}

const connection = await (await DuckDBInstance.create()).connect();
const print = async (sql) => {
  const rows = (await connection.runAndReadAll(sql)).getRowObjectsJson();
  for (const row of rows) console.log(JSON.stringify(row));
};
const read = (some) => `read_parquet([${some.map(({ path }) => `'${path.replaceAll("'", "''")}'`).join()}])`;

const changed = files.filter(({ max_changed_at: last }) => Date.parse(last) > Date.parse(since));
if (changed.length > 0)
  await print(`
    SELECT changed_at, op, collection, id FROM ${read(changed)}
    WHERE changed_at > TIMESTAMPTZ '${since}' AND changed_at <= TIMESTAMPTZ '${files[0].complete_up_to}'
    ORDER BY changed_ms, seq`);

if (files.length > 0)
  await print(`
    SELECT source, collection, count(*) AS objects FROM (
      SELECT * FROM ${read(files)} WHERE kind = 'object'
      QUALIFY row_number() OVER (PARTITION BY key ORDER BY changed_ms DESC, seq DESC) = 1
    ) WHERE op <> 'delete' GROUP BY ALL ORDER BY ALL`);
