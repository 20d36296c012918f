/** The places where a changelog can be kept, and what is paid for in each. */
import { many, short } from "../amounts.ts";
import type { Case, CaseLine } from "./case.ts";
import { HOURS_A_MONTH, gb, kept, millions, monthly, storageLine, storedRowBytes } from "./case.ts";
import { varveLines } from "./varve.ts";

export type StoreId = "index" | "bigtable" | "firehose" | "exports" | "varve-s3" | "varve-r2";

export type Store = { readonly id: StoreId; readonly name: string; readonly lines: (c: Case) => CaseLine[] };

const index: Store = {
  id: "index",
  name: "DynamoDB GSI, keys only",
  lines: (c) => {
    const { items, keyBytes, changesPerSecond } = c.workload;
    const entryBytes = keyBytes + c.assume("index.entryOverheadBytes");
    const perChange = c.assume("index.writesPerChange");
    const use = c.assume("index.provisionedUse");
    const provisioned = (changesPerSecond * perChange) / use;
    return [
      {
        what: "index storage",
        formula: `${short(items)} items x ${entryBytes} B x ${c.priceText("dynamodb.storage")}/GB`,
        usd: c.price("dynamodb.storage", gb(items * entryBytes)),
      },
      c.end === "low"
        ? {
            what: "index writes",
            formula: `${short(changesPerSecond)}/s x ${perChange} units / ${use} used x ${HOURS_A_MONTH} h x ${c.priceText("dynamodb.provisionedWrite")}, provisioned`,
            usd: c.price("dynamodb.provisionedWrite", provisioned * HOURS_A_MONTH),
          }
        : {
            what: "index writes",
            formula: `${short(monthly(c))} changes x ${perChange} units x ${c.priceText("dynamodb.writeUnits")}/M, on demand`,
            usd: c.price("dynamodb.writeUnits", millions(monthly(c) * perChange)),
          },
    ];
  },
};

const bigtable: Store = {
  id: "bigtable",
  name: "Bigtable in another cloud",
  lines: (c) => {
    const { keyBytes, changesPerSecond, consumers } = c.workload;
    const rowBytes = keyBytes + c.assume("bigtable.rowOverheadBytes");
    const storedGB = gb(kept(c) * rowBytes);
    const movedGB = gb(monthly(c) * rowBytes);
    const nodes = Math.max(
      1,
      Math.ceil(changesPerSecond / c.assume("bigtable.writesPerNode")),
      Math.ceil(storedGB / c.assume("bigtable.gbPerNode")),
    );
    const moved = `${short(monthly(c))} changes x ${rowBytes} B`;
    return [
      {
        what: "nodes",
        formula: `${nodes} nodes x ${HOURS_A_MONTH} h x ${c.priceText("bigtable.nodeHour")}`,
        usd: c.price("bigtable.nodeHour", nodes * HOURS_A_MONTH),
      },
      {
        what: "storage",
        formula: `${short(changesPerSecond)}/s x ${c.retentionDays} d x ${rowBytes} B x ${c.priceText("bigtable.storage")}/GB`,
        usd: c.price("bigtable.storage", storedGB),
      },
      {
        what: "there: egress",
        formula: `${moved} x ${c.priceText("aws.egress")}/GB`,
        usd: c.price("aws.egress", movedGB),
      },
      {
        what: "back: egress",
        formula: `${moved} x ${consumers} consumers x ${c.priceText("gcp.egress")}/GB`,
        usd: c.price("gcp.egress", movedGB * consumers),
      },
    ];
  },
};

const firehose: Store = {
  id: "firehose",
  name: "Kinesis and Firehose to Parquet",
  lines: (c) => {
    const { changesPerSecond, itemBytes } = c.workload;
    const recordBytes = itemBytes + c.assume("kinesis.recordOverheadBytes");
    const rounding = c.assume("firehose.roundingBytes");
    const chargedBytes = Math.ceil(recordBytes / rounding) * rounding;
    const chargedGB = gb(monthly(c) * chargedBytes);
    const shards = Math.max(
      1,
      Math.ceil(changesPerSecond / 1000),
      Math.ceil((changesPerSecond * recordBytes) / 1e6),
    );
    const units = Math.ceil(recordBytes / 25_000);
    const charged = `${short(monthly(c))} changes x ${chargedBytes} B`;
    return [
      {
        what: "capture",
        formula: `${short(monthly(c))} changes x ${c.priceText("dynamodb.kinesisCapture")}/M`,
        usd: c.price("dynamodb.kinesisCapture", millions(monthly(c) * Math.ceil(itemBytes / 1024))),
      },
      {
        what: "stream",
        formula: `${many(shards, "shard")} x ${HOURS_A_MONTH} h x ${c.priceText("kinesis.shardHour")} + ${short(monthly(c))} x ${c.priceText("kinesis.putUnits")}/M`,
        usd:
          c.price("kinesis.shardHour", shards * HOURS_A_MONTH) +
          c.price("kinesis.putUnits", millions(monthly(c) * units)),
      },
      c.end === "low"
        ? {
            what: "Firehose",
            formula: `${charged} x ${c.priceText("firehose.ingest")}/GB`,
            usd: c.price("firehose.ingest", chargedGB),
          }
        : {
            what: "Firehose",
            formula: `${charged} x ${c.priceText("firehose.ingest")}/GB, all at the first`,
            usd: c.firstTierPrice("firehose.ingest", chargedGB),
          },
      {
        what: "Parquet",
        formula: `${charged} x ${c.priceText("firehose.conversion")}/GB`,
        usd: c.price("firehose.conversion", chargedGB),
      },
      storageLine(c, "s3", "storage", kept(c) * storedRowBytes(c), `${c.retentionDays} d`),
    ];
  },
};

const incrementalExports: Store = {
  id: "exports",
  name: "incremental exports",
  lines: (c) => {
    const { items, itemBytes } = c.workload;
    const images = c.end === "low" ? 1 : 2;
    const tableGB = gb(items * itemBytes);
    return [
      {
        what: "exports",
        formula: `${short(monthly(c))} changes x ${itemBytes} B x ${images === 1 ? "new image" : "both images"} x ${c.priceText("dynamodb.export")}/GB`,
        usd: c.price("dynamodb.export", gb(monthly(c) * itemBytes * images)),
      },
      c.end === "low"
        ? { what: "point-in-time recovery", formula: "0: it is on for its own sake", usd: 0 }
        : {
            what: "point-in-time recovery",
            formula: `${short(tableGB)} GB x ${c.priceText("dynamodb.pitr")}`,
            usd: c.price("dynamodb.pitr", tableGB),
          },
    ];
  },
};

export const STORES: readonly Store[] = [
  index,
  bigtable,
  firehose,
  incrementalExports,
  { id: "varve-s3", name: "Varve on S3", lines: (c) => varveLines(c, "s3") },
  { id: "varve-r2", name: "Varve on R2", lines: (c) => varveLines(c, "r2") },
];
