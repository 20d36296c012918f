/** DuckDB in process: one database in memory, one connection, bounded in memory and threads. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { DuckDBInstance } from "@duckdb/node-api";

export type DuckDB = { readonly connection: DuckDBConnection; readonly close: () => void };

export type DuckDBLimits = {
  readonly threads: number;
  readonly memoryMaxMB: number;
  readonly spillDir?: string;
};

export async function openDuckDB({ threads, memoryMaxMB, spillDir }: DuckDBLimits): Promise<DuckDB> {
  const instance = await DuckDBInstance.create(":memory:", {
    threads: String(threads),
    memory_limit: `${memoryMaxMB}MB`,
    ...(spillDir === undefined ? {} : { temp_directory: spillDir }),
  });
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'UTC'");
  return {
    connection,
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
