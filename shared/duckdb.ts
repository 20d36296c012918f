/** DuckDB in process: one database in memory, bounded in memory and threads. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { DuckDBInstance } from "@duckdb/node-api";

export type DuckDB = {
  readonly connection: DuckDBConnection;
  /** Another connection: a result that is still streaming ends when its own connection runs something else. */
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
    ...(spillDir === undefined ? {} : { temp_directory: spillDir }),
  });
  const connections: DuckDBConnection[] = [];
  const connect = async (): Promise<DuckDBConnection> => {
    const connection = await instance.connect();
    connections.push(connection);
    await connection.run("SET TimeZone = 'UTC'");
    return connection;
  };
  return {
    connection: await connect(),
    connect,
    close: () => {
      for (const connection of connections) connection.closeSync();
      instance.closeSync();
    },
  };
}

export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
