/**
 * What "what changed since T" costs as the table grows: 10,000, 100,000 and 1,000,000 objects, of which 1,000 have
 * changed. Beside it the two ways without a changelog, over the same objects in the embedded DynamoDB: a scan of the
 * table, and a query of a global secondary index on the modification time.
 *
 * The changelog is laid down as the compactor would, in a directory: 10 commits, a checkpoint, and one commit of the
 * changes. The table is made and changed through DynamoDB's own calls; the bulk of its items is put straight into the
 * embedded DynamoDB's file, which takes them a hundred times faster than its API does.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openChangelog } from "../reader/changelog.ts";
import { writeCheckpoint } from "../shared/checkpoint.ts";
import { openDirectoryStore } from "../shared/directory.ts";
import type { ObjectStore } from "../shared/store.ts";
import { layDown, object } from "./laid.ts";
import type { BenchRow } from "./report.ts";
import type { Cost } from "./since-objects.ts";
import {
  CHANGED,
  CHANGED_AT,
  COMMITS,
  NO_COST,
  T0,
  WINDOW_MS,
  best,
  changedImage,
  idOf,
} from "./since-objects.ts";
import { ENTRY_BYTES, ITEM_BYTES, measureTable } from "./since-table.ts";

const SIZES = [10_000, 100_000, 1_000_000] as const;
/** The table is made and asked at sizes that the embedded DynamoDB can be scanned at: it sorts all of it for each page. */
const TABLE_SIZES: ReadonlySet<number> = new Set([10_000, 100_000]);
/** The best of them stands: the machine is shared. */
const ROUNDS = 15;
const FLAT_LIMIT = 1.3;

/** Some 300 bytes, as an object of a dozen properties has. */
const imageSql = `'{"name":"' || md5('n' || i) || '","email":"user' || i || '@example.com","plan":"pro","company":"company ' ||
  (i % 5000) || '","city":"Zürich","visits":' || (i % 977) || ',"token":"' || md5('t' || i) || '"}'`;

/** `cpuMs`: of this process, which a busy machine disturbs less than the clock. */
type SinceCost = Cost & { readonly cpuMs: number };

export async function benchSince(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-since-"));
  try {
    const changelogs = new Map<number, { readonly root: string; readonly bytes: number }>();
    for (const size of SIZES) {
      progress(`laying down a changelog of ${size} objects`);
      const root = join(dir, `changelog-${size}`);
      changelogs.set(size, { root, bytes: await layChangelog(root, size) });
    }
    const since = await measureSince(changelogs, progress);
    const rows: BenchRow[] = [];
    const smallest = since.get(SIZES[0]) ?? NO_SINCE_COST;
    for (const size of SIZES) {
      const name = `${size.toLocaleString("en-US")} objects`;
      const cost = since.get(size) ?? NO_SINCE_COST;
      const flat = { limit: size === SIZES[0] ? null : FLAT_LIMIT };
      const changelogBytes = changelogs.get(size)?.bytes ?? 0;
      const tableBytes = size * ITEM_BYTES;
      rows.push(
        row(`${name}: since T, time`, cost.ms, "ms", { ...flat, ratio: cost.ms / smallest.ms }),
        row(`${name}: since T, processor time`, cost.cpuMs, "ms", {
          ...flat,
          ratio: cost.cpuMs / smallest.cpuMs,
        }),
        row(`${name}: since T, requests`, cost.requests, "", {
          ...flat,
          ratio: cost.requests / smallest.requests,
        }),
        row(`${name}: since T, read`, cost.bytes, "bytes", { ...flat, ratio: cost.bytes / smallest.bytes }),
      );
      if (TABLE_SIZES.has(size)) {
        const { query, scan } = await measureTable(dir, size, progress);
        rows.push(
          row(`${name}: GSI query + items, time / since T`, query.ms, "ms", { ratio: query.ms / cost.ms }),
          row(`${name}: GSI query + items, requests`, query.requests, ""),
          row(`${name}: GSI query + items, read`, query.bytes, "bytes"),
          row(`${name}: table scan, time / since T`, scan.ms, "ms", { ratio: scan.ms / cost.ms }),
          row(`${name}: table scan, requests`, scan.requests, ""),
        );
      }
      rows.push(
        row(`${name}: table scan, read / since T`, tableBytes, "bytes", { ratio: tableBytes / cost.bytes }),
        row(`${name}: stored by the changelog / by the table`, changelogBytes, "bytes", {
          ratio: changelogBytes / tableBytes,
        }),
        row(`${name}: stored by a GSI, keys only / by the table`, size * ENTRY_BYTES, "bytes", {
          ratio: ENTRY_BYTES / ITEM_BYTES,
        }),
      );
    }
    return rows;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const NO_SINCE_COST: SinceCost = { ...NO_COST, cpuMs: 0 };

const row = (
  name: string,
  value: number,
  unit: string,
  { limit = null, ratio = null }: { readonly limit?: number | null; readonly ratio?: number | null } = {},
): BenchRow => ({ name, value, unit, limit, ratio });

/** The bytes that its files take. */
async function layChangelog(root: string, size: number): Promise<number> {
  const store = openDirectoryStore(root);
  const laid = await layDown(store, T0);
  try {
    const count = size / COMMITS;
    for (let commit = 0; commit < COMMITS; commit += 1) {
      await laid.commitQuery({
        count,
        columns: {
          changedMs: `${T0 + commit * WINDOW_MS} + 1 + i % 1000`,
          collection: "'users'",
          id: `'u' || lpad((i + ${commit * count})::VARCHAR, 8, '0')`,
          image: imageSql,
        },
        watermarkMs: T0 + (commit + 1) * WINDOW_MS - 1,
      });
    }
    await writeCheckpoint(store, laid.snapshot());
    const step = size / CHANGED;
    const changed = Array.from({ length: CHANGED }, (_, index) =>
      object("users", idOf(index * step), CHANGED_AT + 1 + index, {
        op: "update",
        image: changedImage(index),
      }),
    );
    const { files } = await laid.commit(changed, CHANGED_AT + CHANGED + 1);
    return [...files.values()].reduce((sum, file) => sum + file.sizeBytes, 0);
  } finally {
    await laid.close();
  }
}

/** The sizes take turns, so that a busy moment of the machine meets them all. */
async function measureSince(
  changelogs: ReadonlyMap<number, { readonly root: string }>,
  progress: (what: string) => void,
): Promise<ReadonlyMap<number, SinceCost>> {
  progress(`since T, ${ROUNDS} rounds`);
  const costs = new Map<number, SinceCost[]>();
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const [size, { root }] of changelogs) {
      const cost = await sinceOnce(root);
      if (round >= 0) costs.set(size, [...(costs.get(size) ?? []), cost]);
    }
  }
  return new Map(
    [...costs].map(([size, some]) => [
      size,
      { ...NO_SINCE_COST, ...best(some), cpuMs: Math.min(...some.map(({ cpuMs }) => cpuMs)) },
    ]),
  );
}

/** From nothing: the log is opened, and every row read. */
async function sinceOnce(root: string): Promise<SinceCost> {
  const { store, asked } = counting(openDirectoryStore(root));
  const began = performance.now();
  const cpu = process.cpuUsage();
  const changelog = await openChangelog(store);
  const { rows } = await changelog.changesSince({ kind: "time", ms: CHANGED_AT });
  let count = 0;
  for await (const { image } of rows) count += image === null ? 0 : 1;
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  if (count !== CHANGED) throw new Error(`since T gave ${count} rows, not ${CHANGED}`);
  return { ms, cpuMs: (user + system) / 1000, ...asked };
}

function counting(store: ObjectStore): {
  readonly store: ObjectStore;
  readonly asked: { requests: number; bytes: number };
} {
  const asked = { requests: 0, bytes: 0 };
  const { getRange } = store;
  const note = (bytes: number | undefined): void => {
    asked.requests += 1;
    asked.bytes += bytes ?? 0;
  };
  return {
    asked,
    store: {
      ...store,
      get: async (key, signal) => {
        const found = await store.get(key, signal);
        note(found?.body.byteLength);
        return found;
      },
      ...(getRange === undefined
        ? {}
        : {
            getRange: async (key, start, length, signal) => {
              const body = await getRange(key, start, length, signal);
              note(body?.byteLength);
              return body;
            },
          }),
      list: (prefix, startAfter, signal) => {
        note(0);
        return store.list(prefix, startAfter, signal);
      },
    },
  };
}
