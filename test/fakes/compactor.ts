/** A compactor's surroundings, without engines and threads: files are JSON, lanes share one thread. */
import type { CompactorDeps } from "../../compactor/compactor.ts";
import { openLane } from "../../compactor/lane.ts";
import { openMerger } from "../../compactor/merge.ts";
import { NO_METRICS } from "../../compactor/metrics.ts";
import type { CompactorLog } from "../../compactor/patience.ts";
import type { OpenStage } from "../../compactor/stage.ts";
import type { Streams } from "../../compactor/stream.ts";
import type { Clock } from "../../shared/clock.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { jsonMerge, jsonStage } from "./parquet.ts";

export type FakeDeps = {
  readonly store: ObjectStore;
  readonly streams: Streams;
  readonly clock: Clock;
  readonly openStage?: OpenStage;
  readonly log?: CompactorLog;
  readonly upkeep?: CompactorDeps["upkeep"];
  readonly lanes?: number;
  readonly answersMax?: number;
  readonly flushMs: number;
  readonly flushBytes?: number;
  readonly heartbeatMs: number;
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
};

export function compactorDeps(given: FakeDeps): CompactorDeps {
  const { store, streams, clock, flushMs, heartbeatMs, pollMinMs, pollMaxMs } = given;
  const log = given.log ?? { info: () => {}, warn: () => {} };
  const openStage = given.openStage ?? jsonStage;
  const flushBytes = given.flushBytes ?? 2_000_000;
  return {
    store,
    streams,
    clock,
    log,
    metrics: NO_METRICS,
    openLanes: async (patience) =>
      Promise.all(
        Array.from({ length: given.lanes ?? 1 }, () =>
          openLane({
            store,
            streams,
            clock,
            log,
            patience,
            openStage,
            flushMs,
            flushBytes,
            answersMax: given.answersMax ?? 32,
            pollMinMs,
            pollMaxMs,
          }),
        ),
      ),
    merger: openMerger({ store, clock, log, metrics: NO_METRICS, engine: jsonMerge }),
    upkeep: given.upkeep ?? { run: async () => {} },
    configuration: {},
    flushMs,
    heartbeatMs,
  };
}
