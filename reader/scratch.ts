/**
 * A scratch folder and a DuckDB over it: data files are fetched into the folder and read there.
 *
 * A small file comes whole, in one request. Of a large one come its footer, and then the columns and row groups
 * that the question needs: they are laid at their own places in a file of the full size, whose holes DuckDB does
 * not look at. (Should it do so after all, it fails on the hole, and the file is fetched whole: see scan.ts.)
 */
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import type { DataFile } from "../shared/snapshot.ts";
import { allEnded, turnstile } from "../shared/turnstile.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { ByteRange, Chunk } from "./footer.ts";
import { bytesOf, rangesToFetch, rowGroupsFor } from "./footer.ts";
import type { Filter, TimeRange } from "./range.ts";

const REQUESTS_IN_FLIGHT = 16;
const MEMORY_MAX_MB = 512;
/** Up to here a file is fetched whole: a second request costs more time than these bytes. */
const WHOLE_MAX_BYTES = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;
const PIECE_BYTES = 8 * 1024 * 1024;
/** Where this share of a file is needed, all of it is fetched. */
const WORTH_WHOLE = 0.8;

export type FileCounts = { files: number; bytes: number };
export type ReadCounts = FileCounts & {
  /** GET requests for data files. */
  requests: number;
};

/** What a question needs of a file. */
export type Need = {
  readonly range: TimeRange | null;
  readonly filter: Filter;
  readonly columns: ReadonlySet<string>;
};

export type Scratch = {
  readonly connection: DuckDBConnection;
  /** Another connection to the same database; closed with it. */
  readonly connect: () => Promise<DuckDBConnection>;
  /** Fetches files, of large ones only what is needed, and gives DuckDB's `read_parquet(...)` over them. */
  readonly fetch: (files: readonly DataFile[], signal?: AbortSignal, need?: Need) => Promise<FetchedFiles>;
  /** Fetches one file whole; null when it is not in the store. It is deleted by `close`. */
  readonly read: (file: DataFile, signal?: AbortSignal) => Promise<ReadFile | null>;
  readonly counts: ReadCounts;
  /** The path of a folder that is not there yet; `close` deletes it. */
  readonly newDir: () => string;
  readonly close: () => Promise<void>;
};
export type FetchedFiles = {
  readonly relation: string;
  readonly paths: readonly string[];
  /** True when some file has holes. */
  readonly partial: boolean;
  readonly release: () => Promise<void>;
};
export type ReadFile = { readonly path: string; readonly sizeBytes: number };

/** @param threads a sort by two keeps twice as much in memory that it cannot spill */
export async function openScratch(
  store: ObjectStore,
  threads = 1,
  memoryMaxMB = MEMORY_MAX_MB,
): Promise<Scratch> {
  const dir = await mkdtemp(join(tmpdir(), "varve-read-"));
  const { connection, connect, close } = await openDuckDB({
    threads,
    memoryMaxMB,
    spillDir: join(dir, "spill"),
  });
  const footers = await connect();
  const counts: ReadCounts = { files: 0, bytes: 0, requests: 0 };
  const turn = turnstile(REQUESTS_IN_FLIGHT);
  let next = 0;
  const newPath = (): string => join(dir, `${(next += 1)}.parquet`);

  const counted = (body: Uint8Array): Uint8Array => {
    counts.bytes += body.byteLength;
    return body;
  };

  /** Null: not in the store. */
  const readWhole = async (file: DataFile, signal?: AbortSignal): Promise<ReadFile | null> => {
    const path = newPath();
    if (store.getRange !== undefined && file.sizeBytes > PIECE_BYTES) {
      // One byte more than there should be, so that a file which has grown shows.
      const sizeBytes = await withFile(path, (handle) =>
        fetchRanges(file, [{ start: 0, end: file.sizeBytes + 1 }], handle, signal),
      );
      return sizeBytes === null ? null : { path, sizeBytes };
    }
    const object = await turn(async () => {
      counts.requests += 1;
      return store.get(file.path, signal);
    });
    if (object === null) return null;
    await writeFile(path, counted(object.body));
    return { path, sizeBytes: object.body.byteLength };
  };

  /** Writes the ranges to their places; the number of bytes there were, or null when there is no such object. */
  const fetchRanges = async (
    file: DataFile,
    ranges: readonly ByteRange[],
    handle: FileHandle,
    signal?: AbortSignal,
  ): Promise<number | null> => {
    const lengths = await allEnded(
      ranges.flatMap(pieces).map(({ start, end }) =>
        turn(async () => {
          counts.requests += 1;
          const body = (await store.getRange?.(file.path, start, end - start, signal)) ?? null;
          if (body === null) return null;
          await handle.write(counted(body), 0, body.byteLength, start);
          return body.byteLength;
        }),
      ),
    );
    return lengths.reduce(
      (sum, length) => (sum === null || length === null ? null : sum + length),
      0 as number | null,
    );
  };

  /** What is needed of a large file, or null when it is not in the store. */
  const readPart = async (
    file: DataFile,
    need: Need,
    signal?: AbortSignal,
  ): Promise<{ path: string } | null> => {
    const path = newPath();
    return withFile(path, async (handle) => {
      await handle.truncate(file.sizeBytes);
      const footer = await fetchFooter(file, handle, signal);
      if (footer === null) return null;
      const chunks = await chunksOf(footers, path);
      const groups = rowGroupsFor(chunks, need.range, need.filter);
      const ranges = rangesToFetch(chunks, groups, need.columns);
      const wanted =
        bytesOf(ranges) > file.sizeBytes * WORTH_WHOLE ? [{ start: 0, end: footer.start }] : ranges;
      return (await fetchRanges(file, wanted, handle, signal)) === null ? null : { path };
    });
  };

  /** The footer's range once it is in place. https://parquet.apache.org/docs/file-format/ */
  const fetchFooter = async (
    file: DataFile,
    handle: FileHandle,
    signal?: AbortSignal,
  ): Promise<ByteRange | null> => {
    const tail = { start: Math.max(0, file.sizeBytes - TAIL_BYTES), end: file.sizeBytes };
    if ((await fetchRanges(file, [tail], handle, signal)) === null) return null;
    const end = Buffer.alloc(8);
    await handle.read(end, 0, 8, file.sizeBytes - 8);
    const start = file.sizeBytes - 8 - end.readUInt32LE(0);
    if (end.toString("latin1", 4) !== "PAR1" || start < 4) throw damaged(file);
    if (
      start < tail.start &&
      (await fetchRanges(file, [{ start, end: tail.start }], handle, signal)) === null
    )
      return null;
    return { start, end: file.sizeBytes };
  };

  const fetchOne = async (
    file: DataFile,
    signal: AbortSignal | undefined,
    need: Need | undefined,
  ): Promise<{ readonly path: string; readonly partial: boolean }> => {
    counts.files += 1;
    const inPart = need !== undefined && store.getRange !== undefined && file.sizeBytes > WHOLE_MAX_BYTES;
    const found = await (inPart ? readPart(file, need, signal) : readWhole(file, signal));
    if (found === null) throw missing(file);
    return { path: found.path, partial: inPart };
  };

  return {
    connection,
    connect,
    counts,
    newDir: () => join(dir, `slices-${(next += 1)}`),
    read: async (file, signal) => {
      counts.files += 1;
      return readWhole(file, signal);
    },
    fetch: async (files, signal, need) => {
      const fetched = await allEnded(files.map((file) => fetchOne(file, signal, need)));
      const paths = fetched.map(({ path }) => path);
      return {
        paths,
        partial: fetched.some(({ partial }) => partial),
        relation: `read_parquet([${paths.map(sqlText).join(", ")}])`,
        release: async () => {
          await Promise.all(paths.map((path) => rm(path, { force: true })));
        },
      };
    },
    close: async () => {
      footers.closeSync();
      close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const missing = (file: DataFile): VarveError =>
  new VarveError(
    "file_missing",
    `${file.path} is in the log, but not in the store.`,
    "It was deleted by something other than Varve, or the reader is older than the log's retention: open the changelog again. `varve verify` lists every missing file.",
  );

const damaged = (file: DataFile): VarveError =>
  new VarveError(
    "file_damaged",
    `${file.path} does not end as a Parquet file does.`,
    "It was truncated or overwritten. `varve verify` lists every damaged file.",
  );

async function withFile<T>(path: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, "w+");
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

function pieces({ start, end }: ByteRange): ByteRange[] {
  const count = Math.ceil((end - start) / PIECE_BYTES);
  return Array.from({ length: count }, (_, index) => ({
    start: start + index * PIECE_BYTES,
    end: Math.min(end, start + (index + 1) * PIECE_BYTES),
  }));
}

/** The footer of the file at `path`, of which nothing else need be there. */
async function chunksOf(connection: DuckDBConnection, path: string): Promise<Chunk[]> {
  const answer = await connection.runAndReadAll(
    `SELECT row_group_id::INTEGER, path_in_schema, stats_min_value, stats_max_value,
       (CASE WHEN dictionary_page_offset > 0 THEN least(dictionary_page_offset, data_page_offset) ELSE data_page_offset END)::DOUBLE,
       total_compressed_size::DOUBLE, bloom_filter_offset::DOUBLE, bloom_filter_length::DOUBLE
     FROM parquet_metadata(${sqlText(path)})`,
  );
  type Line = [number, string, string | null, string | null, number, number, number | null, number | null];
  return (answer.getRows() as Line[]).map(
    ([rowGroup, column, min, max, start, length, bloom, bloomLength]) => ({
      rowGroup,
      column,
      min,
      max,
      bytes: { start, end: start + length },
      bloom: bloom === null || bloomLength === null ? null : { start: bloom, end: bloom + bloomLength },
    }),
  );
}
