/** A workload read off a running system: its log over the span that the log still holds, and its table. */
import { DescribeTableCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import type { DynamoDBClient, ScanCommandInput } from "@aws-sdk/client-dynamodb";
import type { LogFigures } from "../../shared/cost/figures.ts";
import { NO_FIGURES, countCommit } from "../../shared/cost/figures.ts";
import { VarveError } from "../../shared/errors.ts";
import { loadSnapshot, readCommits } from "../../shared/log.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { openTableClient } from "../table.ts";
import type { Environment } from "../target.ts";

export type Measured = {
  readonly figures: LogFigures;
  readonly items: number | undefined;
  readonly itemBytes: number | undefined;
  readonly changesPerSecond: number;
  readonly storedRowBytes: number;
  readonly flushSeconds: number;
  readonly shards: number;
};

/** Throws `nothing_measured` when the log holds no rows yet. */
export async function measure(store: ObjectStore, environment: Environment): Promise<Measured> {
  let figures = NO_FIGURES;
  for await (const commit of readCommits(store, -1)) {
    if (commit.version > 0) figures = countCommit(figures, commit);
  }
  const snapshot = await loadSnapshot(store);
  const spanS = (figures.toMs - figures.fromMs) / 1000;
  if (snapshot === null || figures.changes === 0 || spanS <= 0) {
    throw new VarveError(
      "nothing_measured",
      "the log holds no changes to measure.",
      "Send some events, wait for two commits, and ask again; or give the numbers yourself (`varve cost --help`).",
    );
  }
  const table = await tableSize(environment);
  return {
    figures,
    ...table,
    changesPerSecond: figures.changes / spanS,
    storedRowBytes: figures.bytes / figures.changes,
    flushSeconds: spanS / figures.commits,
    shards: Math.max(1, [...snapshot.shards.values()].filter(({ done }) => !done).length),
  };
}

/** DynamoDB counts a table's items and bytes every six hours. */
async function tableSize(environment: Environment): Promise<Pick<Measured, "items" | "itemBytes">> {
  if (environment["DYNAMODB_TABLE"] === undefined) return { items: undefined, itemBytes: undefined };
  const { client, name, told } = openTableClient(environment);
  try {
    const { Table: table } = await told(client.send(new DescribeTableCommand({ TableName: name })));
    const items = table?.ItemCount ?? 0;
    const bytes = table?.TableSizeBytes ?? 0;
    if (items > 0 && bytes > 0) return { items, itemBytes: Math.round(bytes / items) };
    return await told(countItems(client, name));
  } finally {
    client.destroy();
  }
}

const SCAN_PAGES_MAX = 20;

/** A young table is not counted yet: a small one is counted here. Undefined when it is too large for that. */
async function countItems(
  client: DynamoDBClient,
  table: string,
): Promise<Pick<Measured, "items" | "itemBytes">> {
  let items = 0;
  let bytes = 0;
  let from: ScanCommandInput["ExclusiveStartKey"];
  for (let page = 0; page < SCAN_PAGES_MAX; page += 1) {
    const answer = await client.send(
      new ScanCommand({ TableName: table, ...(from === undefined ? {} : { ExclusiveStartKey: from }) }),
    );
    for (const item of answer.Items ?? []) {
      items += 1;
      for (const [name, value] of Object.entries(item))
        bytes += name.length + Buffer.byteLength(JSON.stringify(Object.values(value)[0]));
    }
    from = answer.LastEvaluatedKey;
    if (from === undefined && items > 0) return { items, itemBytes: Math.round(bytes / items) };
  }
  return { items: undefined, itemBytes: undefined };
}
