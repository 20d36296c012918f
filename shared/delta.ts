/**
 * The log's entries: actions of the Delta Lake protocol, one JSON object a line, as far as Varve writes them.
 * Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
 *
 * Reader version 1, so that every Delta reader can read the table; what is ours stands in places that readers
 * pass over: `domainMetadata` (survives checkpoints) and own keys of `commitInfo` (does not).
 */
import { z } from "zod";
import { VarveError } from "./errors.ts";

const STRINGS = z.record(z.string(), z.string().nullable());

const ADD = z.object({
  path: z.string(),
  partitionValues: STRINGS,
  size: z.number(),
  modificationTime: z.number(),
  dataChange: z.boolean(),
  stats: z.string().nullish(),
  tags: STRINGS.nullish(),
});
const REMOVE = z.object({
  path: z.string(),
  deletionTimestamp: z.number().nullish(),
  dataChange: z.boolean(),
  extendedFileMetadata: z.boolean().nullish(),
  partitionValues: STRINGS.nullish(),
  size: z.number().nullish(),
});
const DOMAIN_METADATA = z.object({ domain: z.string(), configuration: z.string(), removed: z.boolean() });
const META_DATA = z.object({
  id: z.string(),
  format: z.object({ provider: z.string(), options: z.record(z.string(), z.string()).nullish() }),
  schemaString: z.string(),
  partitionColumns: z.array(z.string()),
  createdTime: z.number().nullish(),
  configuration: z.record(z.string(), z.string()),
});
const PROTOCOL = z.object({
  minReaderVersion: z.number(),
  minWriterVersion: z.number(),
  writerFeatures: z.array(z.string()).nullish(),
});
const COMMIT_INFO = z.looseObject({
  inCommitTimestamp: z.number(),
  timestamp: z.number(),
  operation: z.string(),
  txnId: z.string(),
  /** Of the entry before, as it stands in the store, hex; absent where the writer had not read it. */
  previousSha256: z.string().optional(),
});

const ACTION = z.union([
  z.object({ commitInfo: COMMIT_INFO }),
  z.object({ add: ADD }),
  z.object({ remove: REMOVE }),
  z.object({ domainMetadata: DOMAIN_METADATA }),
  z.object({ metaData: META_DATA }),
  z.object({ protocol: PROTOCOL }),
]);

export type Add = z.infer<typeof ADD>;
export type DomainMetadata = z.infer<typeof DOMAIN_METADATA>;
export type MetaData = z.infer<typeof META_DATA>;
export type Protocol = z.infer<typeof PROTOCOL>;
export type CommitInfo = z.infer<typeof COMMIT_INFO>;
export type Action = z.infer<typeof ACTION>;

export type Commit = {
  readonly version: number;
  readonly info: CommitInfo;
  readonly actions: readonly Action[];
  /** The whole entry, as it stands in the store. */
  readonly entry?: string;
};

export const WRITER_FEATURES = ["appendOnly", "invariants", "domainMetadata", "inCommitTimestamp"] as const;

export const encodeCommit = (commit: Commit): string =>
  `${[{ commitInfo: commit.info }, ...commit.actions].map((action) => JSON.stringify(action)).join("\n")}\n`;

export function parseCommit(version: number, entry: string): Commit {
  const lines = entry.split("\n").filter((line) => line !== "");
  const [first, ...rest] = parseActions(version, lines);
  if (first === undefined || !("commitInfo" in first)) {
    throw badEntry(version, "its first action is not commitInfo");
  }
  return { version, info: first.commitInfo, actions: rest, entry };
}

/** @param version of the entry or checkpoint that the lines are from, for the error */
export const parseActions = (version: number, lines: readonly string[]): Action[] =>
  lines.map((line) => parseAction(version, line));

function parseAction(version: number, line: string): Action {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw badEntry(version, `a line is not JSON: ${line.slice(0, 80)}`);
  }
  const action = ACTION.safeParse(json);
  if (!action.success)
    throw badEntry(version, `an action is not one that Varve writes: ${line.slice(0, 120)}`);
  return action.data;
}

const badEntry = (version: number, why: string): VarveError =>
  new VarveError(
    "bad_log_entry",
    `log entry ${version} cannot be read: ${why}.`,
    "It was altered, or another program writes to this changelog. Only Varve may write to it.",
  );

type Field = { readonly name: string; readonly type: string };

/** The row columns in file order, with their Delta types. `dt` stands in the path, not in the file. */
export const COLUMNS: readonly Field[] = [
  { name: "changed_at", type: "timestamp" },
  { name: "changed_ms", type: "long" },
  { name: "op", type: "string" },
  { name: "key", type: "string" },
  { name: "seq", type: "string" },
  { name: "shard", type: "string" },
  { name: "changes", type: "long" },
  { name: "kind", type: "string" },
  { name: "source", type: "string" },
  { name: "collection", type: "string" },
  { name: "id", type: "string" },
  { name: "user_id", type: "string" },
  { name: "anonymous_id", type: "string" },
  { name: "event", type: "string" },
  { name: "event_at", type: "timestamp" },
  { name: "image", type: "string" },
];
export const PARTITION_COLUMN: Field = { name: "dt", type: "date" };

/** What is ours in the log: a named JSON value that checkpoints keep. */
export const domainAction = (domain: string, configuration: unknown): Action => ({
  domainMetadata: { domain, configuration: JSON.stringify(configuration), removed: false },
});

/** The actions of version 0. */
export function createTableActions(
  tableId: string,
  nowMs: number,
  configuration: Readonly<Record<string, string>>,
): Action[] {
  const fields = [PARTITION_COLUMN, ...COLUMNS].map(({ name, type }) => ({
    name,
    type,
    nullable: true,
    metadata: {},
  }));
  return [
    { protocol: { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: [...WRITER_FEATURES] } },
    {
      metaData: {
        id: tableId,
        format: { provider: "parquet", options: {} },
        schemaString: JSON.stringify({ type: "struct", fields }),
        partitionColumns: [PARTITION_COLUMN.name],
        createdTime: nowMs,
        configuration: { "delta.enableInCommitTimestamps": "true", ...configuration },
      },
    },
  ];
}
