/** DuckDB in process: one database in memory, bounded in memory and threads. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { DuckDBInstance } from "@duckdb/node-api";

export type DuckDB = {
  readonly connection: DuckDBConnection;
  /** Another connection: two statements of one connection wait for each other. */
  readonly connect: () => Promise<DuckDBConnection>;
  readonly close: () => void;
};

export type DuckDBLimits = {
  readonly threads: number;
  readonly memoryMaxMB: number;
  readonly spillDir?: string;
};

export async function openDuckDB({ threads, memoryMaxMB, spillDir }: DuckDBLimits): Promise<DuckDB> {
  const instance = await DuckDBInstance.create(":memory:", {
    threads: String(threads),
    memory_limit: `${memoryMaxMB}MB`,
    // Without one it would spill into the folder that the process happens to run in.
    temp_directory: spillDir ?? "",
  });
  const connection = await instance.connect();
  await connection.run("SET GLOBAL TimeZone = 'UTC'");
  // It would give a file that was written anew under its old name as it was before.
  await connection.run("SET GLOBAL enable_external_file_cache = false");
  return {
    connection,
    connect: () => instance.connect(),
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
