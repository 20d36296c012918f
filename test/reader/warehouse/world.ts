/** A changelog made to order, and both kinds of warehouse to sync it into. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { DuckDBConnection } from "@duckdb/node-api";
import { DuckDBInstance } from "@duckdb/node-api";
import pg from "pg";
import type { MadeChange, MadeChangelog } from "../../../bench/changelog.ts";
import { makeChangelog } from "../../../bench/changelog.ts";
import { openDuckDBWarehouse } from "../../../reader/warehouse/duckdb.ts";
import { openPostgresWarehouse } from "../../../reader/warehouse/postgres.ts";
import type { SyncOptions, SyncProgress } from "../../../reader/warehouse/sync.ts";
import { sync, SYNC_LIMITS } from "../../../reader/warehouse/sync.ts";
import type { Warehouse } from "../../../reader/warehouse/warehouse.ts";
import { writeCheckpoint } from "../../../shared/checkpoint.ts";
import { systemClock } from "../../../shared/clock.ts";
import type { Action } from "../../../shared/delta.ts";
import { domainAction } from "../../../shared/delta.ts";
import { openDirectoryStore } from "../../../shared/directory.ts";
import { commitKey } from "../../../shared/keys.ts";
import { applyCommit, LOG_DOMAIN } from "../../../shared/snapshot.ts";
import type { ObjectStore } from "../../../shared/store.ts";
import type { TestPostgres } from "../../../bench/postgres.ts";

export const KINDS = ["duckdb", "postgres"] as const;
export type Kind = (typeof KINDS)[number];

export type Rows = Record<string, unknown>[];

export type World = {
  readonly store: ObjectStore;
  /** The changelog's address. */
  readonly changelog: string;
  readonly log: MadeChangelog;
  /** A file, or an address. */
  readonly target: string;
  readonly sync: (options?: Partial<SyncOptions>) => Promise<SyncProgress>;
  /** Rows as JSON has them; times in ISO 8601. */
  readonly query: (sql: string) => Promise<Rows>;
  readonly close: () => Promise<void>;
};

const START_MS = Date.UTC(2026, 10, 23, 10, 0);

export async function makeWorld(kind: Kind, postgres: TestPostgres): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "varve-warehouse-"));
  const target = kind === "duckdb" ? join(dir, "warehouse.duckdb") : await postgres.database();
  const root = join(dir, "changelog");
  const store = openDirectoryStore(root);
  const log = await makeChangelog(store, START_MS);
  const open = (scratch: DuckDBConnection): Promise<Warehouse> =>
    kind === "duckdb" ? openDuckDBWarehouse(scratch, target) : openPostgresWarehouse(target);
  return {
    store,
    changelog: pathToFileURL(root).href,
    log,
    target,
    sync: (options = {}) =>
      sync(store, open, {
        follow: false,
        fromSnapshot: false,
        limits: SYNC_LIMITS,
        pollMs: 20,
        clock: systemClock,
        signal: new AbortController().signal,
        applied: () => {},
        ...options,
      }),
    query: (sql) => (kind === "duckdb" ? queryDuckDB(target, sql) : queryPostgres(target, sql)),
    close: async () => {
      await log.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function queryDuckDB(file: string, sql: string): Promise<Rows> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const result = await connection.runAndReadAll(sql);
    return result.getRowObjectsJS().map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => {
          if (value instanceof Date) return [name, value.toISOString()];
          return [name, typeof value === "bigint" ? Number(value) : value];
        }),
      ),
    );
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export async function queryPostgres(url: string, sql: string): Promise<Rows> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => {
          if (value instanceof Date) return [name, value.toISOString()];
          // Counts and bigints come as text, so that none is rounded.
          return [name, typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value];
        }),
      ),
    );
  } finally {
    await client.end();
  }
}

export const track = (id: string, event: string, properties: unknown, more: object = {}): MadeChange => ({
  kind: "event",
  collection: "tracks",
  id,
  event,
  userId: "u1",
  image: {
    type: "track",
    messageId: id,
    userId: "u1",
    event,
    properties,
    context: { library: { name: "test" } },
    receivedAt: "2026-11-23T10:00:00.500Z",
    sentAt: "2026-11-23T10:00:00.400Z",
    originalTimestamp: "2026-11-23T10:00:00.300Z",
    timestamp: "2026-11-23T10:00:00.300Z",
    ...more,
  },
});

export const object = (
  collection: string,
  id: string,
  image: unknown,
  op: "insert" | "update" | "delete" = "update",
): MadeChange => ({ kind: "object", collection, id, op, image });

/** A checkpoint at the tip; the entries that it covers are gone. */
export async function trim({ store, log }: World): Promise<void> {
  const snapshot = log.snapshot();
  await writeCheckpoint(store, snapshot);
  for (let version = 0; version <= snapshot.version; version += 1) await store.delete(commitKey(version));
}

/** Replaces every live file by a copy under another name; the names it had. */
export async function merge({ store, log }: World): Promise<readonly string[]> {
  const snapshot = log.snapshot();
  const files = [...snapshot.files.values()];
  const nowMs = snapshot.log.committedMs + 1;
  const actions: Action[] = [];
  for (const { path, add } of files) {
    const copy = path.replace(".parquet", "m.parquet");
    const file = await store.get(path);
    if (file !== null) await store.put(copy, file.body, { kind: "always" });
    actions.push({ remove: { path, deletionTimestamp: nowMs, dataChange: false } });
    actions.push({ add: { ...add, path: copy, dataChange: false } });
  }
  actions.push(domainAction(LOG_DOMAIN, { ...snapshot.log, committedMs: nowMs }));
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: nowMs,
    operation: "OPTIMIZE",
    txnId: crypto.randomUUID(),
  };
  const commit = { version: snapshot.version + 1, info, actions };
  await log.put(commit, applyCommit(snapshot, commit).snapshot);
  return files.map(({ path }) => path);
}
