/** What the page is given, as JSON. Times are UTC ms since the epoch; a series has one value a bucket, null: not known. */
import type { Level } from "../shared/window.ts";

export type Problem = {
  readonly code: string;
  readonly message: string;
  readonly fix: string;
  readonly sinceMs: number;
};

/** One log entry. */
export type CommitLine = {
  readonly version: number;
  readonly atMs: number;
  readonly operation: string;
  readonly rows: number;
  readonly changes: number;
  readonly bytes: number;
  readonly filesAdded: number;
  readonly filesRemoved: number;
  readonly watermarkMs: number;
};

export type Flow = {
  readonly stepMs: number;
  /** Ends of the buckets, ascending, aligned to `stepMs`. */
  readonly endsMs: readonly number[];
  /** Rows a second by when they changed; known up to the watermark. */
  readonly accepted: readonly (number | null)[];
  readonly rejected: readonly (number | null)[];
  /** Rows a second by when they were committed. */
  readonly committed: readonly (number | null)[];
  /** Bucket's end minus the watermark of then, ms. */
  readonly lagMs: readonly (number | null)[];
  /** Calls made again and commits refused, a bucket, of this process. */
  readonly errors: readonly (number | null)[];
  readonly now: {
    readonly acceptedPerSecond: number | null;
    readonly rejectedPerSecond: number | null;
    readonly committedPerSecond: number | null;
    /** Over `errorsSpanMs`. */
    readonly errors: number | null;
    readonly errorsSpanMs: number;
  };
};

/** The live files of one level and window. */
export type PictureWindow = {
  readonly level: Level;
  readonly startMs: number;
  readonly lengthMs: number;
  readonly files: number;
  readonly rows: number;
  readonly changes: number;
  readonly bytes: number;
};

export type PictureGap = {
  readonly shard: string;
  readonly after: string | null;
  readonly reason: string;
  readonly detectedMs: number;
};

/** A flush's file, from its first row to its last. */
export type PictureFlush = {
  readonly startMs: number;
  readonly endMs: number;
  readonly rows: number;
  readonly bytes: number;
};

export type Picture = {
  readonly windows: readonly PictureWindow[];
  /** The newest files of level 0, one by one, newest first. */
  readonly flushes: readonly PictureFlush[];
  readonly levels: readonly {
    readonly level: Level;
    readonly files: number;
    readonly rows: number;
    readonly bytes: number;
  }[];
  readonly gaps: readonly PictureGap[];
};

export type LineageShard = {
  readonly id: string;
  /** Null: none; it may be one that is not drawn. */
  readonly parent: string | null;
  readonly parentDrawn: boolean;
  /** When it began; null: not known any more. */
  readonly startMs: number | null;
  /** Every change of it up to here is in. */
  readonly atMs: number;
  readonly done: boolean;
  /** Read once its parent is done. */
  readonly waiting: boolean;
  readonly scan: boolean;
  /** The line it is drawn on, from 0. */
  readonly line: number;
};

export type Lineage = {
  readonly shards: readonly LineageShard[];
  readonly lines: number;
  readonly open: number;
  readonly done: number;
  /** Shards that are not drawn. */
  readonly hidden: number;
};

export type CostLine = {
  readonly what: string;
  readonly formula: string;
  readonly lowUsd: number;
  readonly highUsd: number;
};
export type CostCall = {
  readonly call: string;
  readonly times: number;
  readonly usd: number;
  readonly monthUsd: number;
};

export type Cost = {
  readonly pricesAsOf: string;
  /** Calls of this process since it started; null when it counts none. */
  readonly calls: readonly CostCall[] | null;
  readonly callsSinceMs: number | null;
  readonly callsUsd: number | null;
  readonly storedBytes: number;
  readonly storedUsdMonth: number;
  /** What all of it comes to in a month at the rate of late; null before there is a rate. */
  readonly month: {
    readonly name: string;
    readonly lowUsd: number;
    readonly highUsd: number;
    readonly lines: readonly CostLine[];
    readonly dominatedBy: readonly string[];
    readonly changesPerSecond: number;
    readonly spanMs: number;
  } | null;
};

export type LogView = {
  readonly version: number;
  readonly createdMs: number | null;
  readonly committedMs: number;
  readonly watermarkMs: number;
  readonly rowsCommitted: number;
  readonly rowsLive: number;
  readonly rowsSuperseded: number;
  readonly rowsExpired: number;
  readonly rowsForgotten: number;
  readonly changes: number;
  readonly files: number;
  readonly bytes: number;
};

export type State = {
  readonly changelog: string;
  readonly problem: Problem | null;
  /** Null until the log was read for the first time. */
  readonly log: LogView | null;
  readonly workers: number | null;
  readonly bufferedBytes: number | null;
  readonly flow: Flow;
  readonly picture: Picture;
  /** Newest first. */
  readonly commits: readonly CommitLine[];
  readonly lineage: Lineage;
  readonly cost: Cost;
};

export type EventStatus = "accepted" | "rejected" | "object" | "change";

/** One row, for people. */
export type EventLine = {
  /** Ascending in the order in which the console came to know them. */
  readonly n: number;
  readonly changedMs: number;
  readonly status: EventStatus;
  readonly op: string;
  readonly source: string | null;
  readonly type: string;
  readonly name: string | null;
  readonly user: string | null;
  readonly id: string | null;
  readonly reason: { readonly code: string; readonly message: string } | null;
  /** JSON text; cut when `cut`. */
  readonly json: string | null;
  readonly cut: boolean;
  readonly shard: string;
  readonly seq: string;
};

export type Events = {
  /** Another one counts anew. */
  readonly run: string;
  /** To be given as `after` the next time. */
  readonly last: number;
  readonly events: readonly EventLine[];
  /** How many are kept of each status. */
  readonly keptMax: number;
  /** Files of recent commits that were not looked into, so as not to read too much, or that cannot be read. */
  readonly filesSkipped: number;
};
