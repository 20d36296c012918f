/** `varve bootstrap`: the items that a table held before its stream was read. */
import { bootstrap } from "../compactor/bootstrap.ts";
import { findRepeats } from "../compactor/repeats.ts";
import { openStages } from "../compactor/stage.ts";
import { count, many } from "../shared/amounts.ts";
import { systemClock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";
import { openProgress } from "./progress.ts";
import { openTable } from "./table.ts";
import type { Environment } from "./target.ts";

export async function bootstrapCommand(
  store: ObjectStore,
  environment: Environment,
  { segments, json }: { readonly segments: number; readonly json: boolean },
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const table = await openTable(environment);
  const progress = openProgress(output, systemClock);
  try {
    const result = await bootstrap(
      {
        store,
        openStage: openStages(2 ** 25),
        segments,
        clock: systemClock,
        keyNames: table.keyNames,
        scan: table.scanSegment,
        repeats: (scanned, streamed) => findRepeats(store, systemClock, scanned, streamed),
        // DescribeTable's item count is some hours old: the bar is about right.
        progress: (what, done) => progress(what, done, what === "items" ? table.itemsAbout : null),
      },
      signal,
    );
    output.progress("");
    const { items, repeated, resumed } = result;
    await output.line(
      json
        ? JSON.stringify(result)
        : `${many(items, "item")} taken in${resumed ? ", resumed" : ""}; the stream brought ${count(repeated)} of them as well: its rows stand`,
    );
  } finally {
    table.close();
  }
}
