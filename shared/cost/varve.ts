/** What Varve itself is paid for: reading the stream, the compactor, requests, storage. */
import { noun, short } from "../amounts.ts";
import type { Case, CaseLine } from "./case.ts";
import {
  HOURS_A_MONTH,
  SECONDS_A_DAY,
  SECONDS_A_MONTH,
  gb,
  kept,
  millions,
  monthly,
  storageLine,
  storedRowBytes,
} from "./case.ts";

/** GetRecords calls a second and shard, as the compactor paces them: until an answer is well filled, within bounds. */
function callsPerShard(c: Case): number {
  const { changesPerSecond, shards, itemBytes, pollMaxSeconds } = c.workload;
  const rate = changesPerSecond / shards;
  const recordBytes = itemBytes + c.assume("kinesis.recordOverheadBytes");
  const fullPages = Math.max(rate / 1000, (rate * recordBytes) / c.assume("varve.pageBytes"));
  const paced = Math.min(rate / c.assume("varve.pageRecords"), 1 / c.assume("varve.pollMinSeconds"));
  return Math.max(1 / pollMaxSeconds, paced, fullPages);
}

export function varveLines(c: Case, store: "s3" | "r2"): CaseLine[] {
  const { changesPerSecond, shards, consumers, remoteConsumers, flushSeconds, flushBytes, itemBytes } =
    c.workload;
  const calls = callsPerShard(c);
  const rowBytes = storedRowBytes(c);
  const writtenBytes = monthly(c) * rowBytes;
  const rewrites = c.assume("varve.rewrites");
  const flushesPerSecond = Math.max(
    1 / flushSeconds,
    (changesPerSecond * (itemBytes + c.assume("kinesis.recordOverheadBytes"))) / flushBytes,
  );
  const flushes = flushesPerSecond * SECONDS_A_MONTH;
  const merged = (writtenBytes * rewrites) / c.assume("varve.mergedFileBytes");
  const gets = flushes * 2 * consumers + flushes + merged;
  const cores = Math.max(
    c.assume("varve.coresLeast"),
    (changesPerSecond / c.assume("varve.rowsPerCore") +
      (changesPerSecond * rewrites) / c.assume("varve.mergedRowsPerCore")) /
      c.assume("varve.coreUse"),
  );
  const memory = c.assume("varve.memoryPerCore");
  const tasks = Math.ceil(cores / c.assume("varve.coresPerTask"));
  const beats = (2 * tasks * SECONDS_A_MONTH) / c.assume("varve.beatSeconds");
  const puts = flushes * (2 + 1 / c.assume("varve.checkpointEvery")) + merged + beats;
  const replacedDays = c.assume("varve.replacedDays");
  const lines: CaseLine[] = [
    {
      what: "GetRecords",
      formula: `${short(shards)} ${noun(shards, "shard")}, each every ${Number((1 / calls).toPrecision(3))} s x ${c.priceText("streams.getRecords")}/M`,
      usd: c.price("streams.getRecords", millions(shards * calls * SECONDS_A_MONTH)),
    },
    {
      what: "compactor",
      formula: `${Number(cores.toPrecision(3))} vCPU with ${memory} GB each x ${HOURS_A_MONTH} h x (${c.priceText("fargate.vcpuHour")} + ${memory} x ${c.priceText("fargate.gbHour")})`,
      usd:
        c.price("fargate.vcpuHour", cores * HOURS_A_MONTH) +
        c.price("fargate.gbHour", cores * memory * HOURS_A_MONTH),
    },
    {
      what: "PUT",
      formula: `(${short(flushes)} flushes x (file + commit) + ${short(merged)} merged files + ${short(beats)} signs of life) x ${c.priceText(`${store}.put`)}/M`,
      usd: c.price(`${store}.put`, millions(puts)),
    },
    {
      what: "GET",
      formula: `${short(flushes)} flushes x (2 x ${consumers} consumers + 1 merge) x ${c.priceText(`${store}.get`)}/M`,
      usd: c.price(`${store}.get`, millions(gets)),
    },
    storageLine(c, store, "storage", kept(c) * rowBytes, `${c.retentionDays} d`),
    storageLine(
      c,
      store,
      "merged-away files",
      changesPerSecond * SECONDS_A_DAY * replacedDays * rewrites * rowBytes,
      `${replacedDays} d x ${rewrites} copies`,
    ),
  ];
  if (store === "r2") {
    lines.push({
      what: "egress to R2",
      formula: `${short(monthly(c))} changes x ${rowBytes} B x ${1 + rewrites} writes x ${c.priceText("aws.egress")}/GB, the compactor being in AWS`,
      usd: c.price("aws.egress", gb(writtenBytes * (1 + rewrites))),
    });
  } else if (remoteConsumers > 0) {
    lines.push({
      what: "egress to consumers",
      formula: `${short(monthly(c))} changes x ${rowBytes} B x ${remoteConsumers} outside the region x ${c.priceText("aws.egress")}/GB`,
      usd: c.price("aws.egress", gb(writtenBytes * remoteConsumers)),
    });
  }
  return lines;
}
