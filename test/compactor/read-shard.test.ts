import { describe, expect, test } from "vitest";
import type { ShardPage } from "../../compactor/buffer.ts";
import { readShard } from "../../compactor/shard.ts";
import type { IteratorOutcome, PageOutcome, Streams } from "../../compactor/stream.ts";
import type { Position } from "../../shared/position.ts";
import { STREAM_RETENTION_MS } from "../../shared/watermark.ts";
import { T0, objectRecord, position, seq } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";

type Script = {
  /** Answers in turn; the last one stands. */
  readonly opens?: readonly IteratorOutcome[];
  readonly pages: readonly PageOutcome[];
};

const ITERATOR: IteratorOutcome = { kind: "iterator", iterator: "i" };
const page = (sequences: readonly number[], ended = false): PageOutcome => ({
  kind: "page",
  page: { records: sequences.map((n) => objectRecord(n, T0)), next: ended ? null : "i", bytes: 10 },
});

async function read(start: Partial<Position>, { opens = [ITERATOR], pages }: Script) {
  const time = virtualTime(T0 + 60_000);
  const opened: (string | null)[] = [];
  const askedMs: number[] = [];
  const taken: ShardPage[] = [];
  let [nthOpen, nthPage] = [0, 0];
  const streams: Streams = {
    describe: async () => [],
    openIterator: async (_arn, _shard, after) => {
      opened.push(after);
      return opens[Math.min(nthOpen++, opens.length - 1)] ?? ITERATOR;
    },
    getRecords: async () => {
      askedMs.push(time.nowMs());
      return pages[Math.min(nthPage++, pages.length - 1)] ?? page([], true);
    },
  };
  const deps = {
    streams,
    clock: virtualClock(time),
    pollMinMs: 100,
    pollMaxMs: 1000,
    confirms: false,
    accept: async (some: ShardPage) => void taken.push(some),
    warn: () => {},
  };
  let ended = false;
  const reading = readShard(
    deps,
    "s1",
    { position: position(start), isClosed: () => false },
    new AbortController().signal,
  ).then(() => (ended = true));
  await time.run(() => ended, 600_000);
  await reading;
  return {
    opened,
    pausesMs: askedMs.slice(1).map((ms, index) => ms - (askedMs[index] ?? 0)),
    sequences: taken.flatMap(({ rows }) => rows.map((row) => row.seq)),
    gaps: taken.flatMap(({ gap }) => (gap === undefined ? [] : [gap])),
    last: taken.at(-1)?.position,
  };
}

test("reads to the shard's end", async () => {
  const seen = await read({}, { pages: [page([1, 2]), page([]), page([3], true)] });
  expect(seen).toMatchObject({
    opened: [null],
    sequences: ["1", "2", "3"],
    gaps: [],
    last: { done: true, seq: "3" },
  });
});

test("resumes after its position", async () => {
  const seen = await read({ seq: seq(2), at: T0 }, { pages: [page([3], true)] });
  expect(seen).toMatchObject({ opened: ["2"], sequences: ["3"] });
});

test("an expired iterator is opened again after the last record read", async () => {
  const seen = await read({}, { pages: [page([1, 2]), { kind: "expired" }, page([3], true)] });
  expect(seen).toMatchObject({ opened: [null, "2"], sequences: ["1", "2", "3"], gaps: [] });
});

test("throttling and faults are waited out", async () => {
  const retry = { kind: "retry", why: "LimitExceededException" } as const;
  const seen = await read(
    {},
    { opens: [retry, ITERATOR], pages: [retry, page([1]), retry, page([2], true)] },
  );
  expect(seen).toMatchObject({ sequences: ["1", "2"], gaps: [] });
});

describe("what is lost is a gap, and what follows is read", () => {
  test("trimmed when it is opened", async () => {
    const seen = await read(
      { seq: seq(2), at: T0 },
      { opens: [{ kind: "trimmed" }, ITERATOR], pages: [page([7, 8], true)] },
    );
    expect(seen).toMatchObject({ opened: ["2", null], sequences: ["7", "8"], gaps: [{ after: "2" }] });
  });

  test("trimmed while it is read", async () => {
    const seen = await read({}, { pages: [page([1]), { kind: "trimmed" }, page([9], true)] });
    expect(seen).toMatchObject({ opened: [null, null], sequences: ["1", "9"], gaps: [{ after: "1" }] });
  });

  test("trimmed again and again: one gap", async () => {
    const trimmed = { kind: "trimmed" } as const;
    const seen = await read({ seq: seq(1), at: T0 }, { pages: [trimmed, trimmed, trimmed, page([9], true)] });
    expect(seen).toMatchObject({ sequences: ["9"], gaps: [{ after: "1" }] });
  });

  test("never read, and first known longer ago than the stream keeps", async () => {
    const start = { at: T0 + 60_000 - STREAM_RETENTION_MS - 1 };
    expect((await read(start, { pages: [page([9], true)] })).gaps).toMatchObject([{ after: null }]);
    expect((await read({ at: start.at + 1 }, { pages: [page([9], true)] })).gaps).toEqual([]);
  });

  test.each([
    ["a shard that was there a day ago is ended when it is gone", STREAM_RETENTION_MS, 2, 10],
    ["one that was there lately, only when it stays so", 60_000, 20, 100],
  ])("%s", async (_, agoMs, least, most) => {
    const start = { seq: seq(2), at: T0 + 60_000 - agoMs };
    const seen = await read(start, { opens: [{ kind: "gone" }], pages: [] });
    expect(seen).toMatchObject({ gaps: [{ after: "2" }], last: { done: true, seq: "2" } });
    expect(seen.opened.length).toBeGreaterThan(least);
    expect(seen.opened.length).toBeLessThan(most);
  });
});

test("calls follow each other at once while answers are full, and ever more slowly while they are empty", async () => {
  const many = Array.from({ length: 999 }, (_, index) => index);
  const full: PageOutcome = {
    kind: "page",
    page: { records: [objectRecord(1, T0)], next: "i", bytes: 950_000 },
  };
  const empty = Array.from({ length: 10 }, () => page([]));
  const { pausesMs } = await read({}, { pages: [full, full, ...empty, page(many), page([], true)] });
  expect(pausesMs.slice(0, 2)).toEqual([0, 0]);
  const quiet = pausesMs.slice(2, 12);
  expect(quiet).toEqual(quiet.toSorted((a, b) => a - b));
  expect(quiet[0]).toBeLessThan(200);
  expect(quiet.at(-1)).toBe(1000);
  expect(pausesMs.at(-1)).toBeGreaterThanOrEqual(100);
  expect(pausesMs.at(-1)).toBeLessThan(1000);
});

test("a shard that is not known everywhere yet is asked for again", async () => {
  const gone = { kind: "gone" } as const;
  const seen = await read({}, { opens: [gone, gone, ITERATOR], pages: [page([1], true)] });
  expect(seen).toMatchObject({ sequences: ["1"], gaps: [] });
});
