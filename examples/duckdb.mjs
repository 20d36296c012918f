// What changed since T, and the state now, with DuckDB over the files that `varve files --json` lists: those of a
// changelog in a directory (VARVE_CHANGELOG=file:///directory), or in S3, see below.
//
//     varve files --json > files.json
//     node examples/duckdb.mjs files.json 2026-11-23T09:00:00Z
import { DuckDBInstance } from "@duckdb/node-api";

const [list = "files.json", since = "1970-01-01T00:00:00Z"] = process.argv.slice(2);
const connection = await (await DuckDBInstance.create()).connect();
const run = async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson();

// Files in S3 need DuckDB's httpfs: `INSTALL httpfs; LOAD httpfs; CREATE SECRET (TYPE s3, PROVIDER credential_chain)`.
await connection.run(`
  CREATE TABLE files AS SELECT * FROM read_json('${list}');
  SET VARIABLE since = TIMESTAMPTZ '${since}';
  SET VARIABLE complete = (SELECT max(complete_up_to)::TIMESTAMPTZ FROM files);
  SET VARIABLE changed = (SELECT list(path) FROM files WHERE max_changed_at::TIMESTAMPTZ > getvariable('since'));
  SET VARIABLE live = (SELECT list(path) FROM files)`);

const changed = await run(`
  SELECT changed_at, op, collection, id FROM read_parquet(getvariable('changed'))
  WHERE changed_at > getvariable('since') AND changed_at <= getvariable('complete')
  ORDER BY changed_ms, seq`);
for (const row of changed) console.log(JSON.stringify(row));

const state = await run(`
  SELECT source, collection, count(*) AS objects FROM (
    SELECT * FROM read_parquet(getvariable('live')) WHERE kind = 'object'
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY changed_ms DESC, seq DESC) = 1
  ) WHERE op <> 'delete' GROUP BY ALL ORDER BY ALL`);
for (const row of state) console.log(JSON.stringify(row));
