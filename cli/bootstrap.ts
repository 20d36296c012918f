/** `varve bootstrap`: the items that a table held before its stream was read. */
import { bootstrap } from "../compactor/bootstrap.ts";
import { openParquetWriter } from "../compactor/parquet.ts";
import { findRepeats } from "../compactor/repeats.ts";
import { systemClock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";
import { openTable } from "./table.ts";
import type { Environment } from "./target.ts";

const PARQUET_MEMORY_MAX_MB = 512;
const BAR_WIDTH = 30;

export async function bootstrapCommand(
  store: ObjectStore,
  environment: Environment,
  { segments, json }: { readonly segments: number; readonly json: boolean },
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const table = await openTable(environment);
  const parquet = await openParquetWriter(PARQUET_MEMORY_MAX_MB);
  const beganMs = Date.now();
  try {
    const result = await bootstrap(
      {
        store,
        parquet,
        segments,
        clock: systemClock,
        keyNames: table.keyNames,
        scan: table.scanSegment,
        repeats: (scanned, streamed) => findRepeats(store, systemClock, scanned, streamed),
        progress: (what, done) => {
          output.progress(what === "items" ? itemsText(done, table.itemsAbout, beganMs) : `${done} ${what}`);
        },
      },
      signal,
    );
    output.progress("");
    const { items, repeated, resumed } = result;
    await output.line(
      json
        ? JSON.stringify(result)
        : `${items} items taken in${resumed ? ", resumed" : ""}; ${repeated} of them had changed meanwhile: the stream's rows stand`,
    );
  } finally {
    await parquet.close();
    table.close();
  }
}

/** DescribeTable's item count is some hours old: the bar is about right. */
function itemsText(done: number, about: number, beganMs: number): string {
  const seconds = Math.max(0.001, (Date.now() - beganMs) / 1000);
  const rate = done / seconds;
  if (about <= 0 || done >= about) return `${done} items, ${Math.round(rate)}/s`;
  const filled = Math.round((done / about) * BAR_WIDTH);
  const left = Math.ceil((about - done) / Math.max(rate, 1));
  return `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ${done} of about ${about} items, ${Math.round(rate)}/s, ${left} s left`;
}
