/** What is looked into, and what is passed over so as not to read too much. */
import { expect, test } from "vitest";
import { keepCommit } from "../../console/model/commits.ts";
import type { KeptCommit } from "../../console/model/commits.ts";
import { openRecent } from "../../console/recent.ts";
import { systemClock } from "../../shared/clock.ts";
import type { Commit } from "../../shared/delta.ts";
import { VarveError } from "../../shared/errors.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { memoryStore } from "../fakes/store.ts";

const T0 = Date.UTC(2026, 10, 20, 12);
const MB = 1024 ** 2;

function committed(version: number, sizeBytes: number): KeptCommit {
  const stats = { numRecords: 500, minValues: { changed_ms: T0 }, maxValues: { changed_ms: T0 + version } };
  const commit: Commit = {
    version,
    info: { inCommitTimestamp: T0 + version, timestamp: T0, operation: "WRITE", txnId: `${version}` },
    actions: [
      {
        add: {
          path: `data/${version}`,
          partitionValues: {},
          size: sizeBytes,
          modificationTime: T0,
          dataChange: true,
          stats: JSON.stringify(stats),
          tags: { level: "0", window: String(T0), changes: "500", setsum: "0".repeat(32) },
        },
      },
    ],
  };
  return keepCommit(commit, T0);
}

/** Every file is gone: asking for it is all that can be done. */
function asked() {
  const paths: string[] = [];
  const store: ObjectStore = {
    ...memoryStore(),
    get: async (key) => {
      paths.push(key);
      return null;
    },
  };
  return { paths, store };
}

async function until(holds: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 400 && !holds(); attempt += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
  expect(holds()).toBe(true);
}

test("files are looked into once, the newest first, until there is enough to read; what is too much is counted", async () => {
  const { paths, store } = asked();
  let nowMs = T0;
  const recent = openRecent(store, { ...systemClock, nowMs: () => nowMs });
  const commits = [committed(1, 16 * MB), committed(2, 40 * MB), committed(3, 16 * MB), committed(4, MB)];
  recent.follow(commits, []);
  await until(() => recent.after(0).filesSkipped === 2);
  expect(paths).toEqual(["data/4", "data/3"]);

  recent.follow(commits, []);
  nowMs += 10_000;
  recent.follow([...commits, committed(5, 16 * MB)], []);
  await until(() => paths.length === 3);
  expect(paths[2]).toBe("data/5");
  expect(recent.after(0)).toMatchObject({ events: [], last: 0, filesSkipped: 2 });
  await recent.close();
});

test("a file that cannot be read is passed over, and counted", async () => {
  const paths: string[] = [];
  const store: ObjectStore = {
    ...memoryStore(),
    get: async (key) => {
      paths.push(key);
      return { body: new TextEncoder().encode("no Parquet at all"), etag: "" };
    },
  };
  const recent = openRecent(store, { ...systemClock, nowMs: () => T0 });
  recent.follow([committed(1, MB), committed(2, MB)], []);
  await until(() => recent.after(0).filesSkipped === 2);
  expect(paths).toEqual(["data/2", "data/1"]);
  await recent.close();
});

test("a store that fails is asked again after a while", async () => {
  let calls = 0;
  const store: ObjectStore = {
    ...memoryStore(),
    get: () => {
      calls += 1;
      return Promise.reject(new VarveError("store_unreadable", "down", "wait"));
    },
  };
  let nowMs = T0;
  const recent = openRecent(store, { ...systemClock, nowMs: () => nowMs });
  const commits = [committed(1, MB)];
  recent.follow(commits, []);
  await until(() => calls === 1);
  for (let attempt = 0; attempt < 5; attempt += 1) recent.follow(commits, []);
  expect(calls).toBe(1);
  nowMs += 5_000;
  await until(() => {
    recent.follow(commits, []);
    return calls === 2;
  });
  await recent.close();
});
