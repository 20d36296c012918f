/** `varve compactor`: the entry point. */
import { availableParallelism } from "node:os";
import { pino } from "pino";
import type { Console } from "../console/console.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import type { CompactorConfig } from "../shared/config.ts";
import { heartbeatMs, parseCompactorConfig, s3ConfigOf, threadsOf } from "../shared/config.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { CompactorDeps } from "./compactor.ts";
import { runCompactor } from "./compactor.ts";
import { countedStore, countedStreams } from "./counted.ts";
import { duckdbEngine } from "./merge-engine.ts";
import { HISTORY_KEY, openMerger } from "./merge.ts";
import type { PrometheusMetrics } from "./metrics.ts";
import { openPrometheusMetrics, serveMetrics } from "./metrics.ts";
import type { CompactorLog } from "./patience.ts";
import { openStreams } from "./stream.ts";
import type { OpenedLane } from "./thread.ts";
import { openLocalLane, openThreadLane, streamsConfigOf } from "./thread.ts";
import { openUpkeep } from "./upkeep.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Without a commit for so many heartbeats, /healthz says so. */
const STALE_HEARTBEATS = 5;

export async function compactorMain(environment: Environment, signal: AbortSignal): Promise<void> {
  const config = parseCompactorConfig(environment);
  const logger = pino(
    { base: null, formatters: { level: (level) => ({ level }) }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  const log: CompactorLog = {
    info: (what, fields) => logger.info(fields, what),
    warn: (what, fields) => logger.warn(fields, what),
  };
  const beatMs = heartbeatMs(config);
  const metrics = openPrometheusMetrics(systemClock.nowMs, beatMs * STALE_HEARTBEATS);
  const listen = config.VARVE_METRICS;
  const server = listen === undefined ? null : await serveMetrics(metrics, listen.port, listen.host);
  if (server !== null) log.info("serving metrics", { host: listen?.host, port: server.port });
  const opened = openS3Store(s3ConfigOf(config));
  const store = countedStore(opened, metrics);
  let view: Console | null = null;
  const lanes: OpenedLane[] = [];

  const deps: CompactorDeps = {
    store,
    log,
    metrics,
    clock: systemClock,
    worker: config.VARVE_WORKER,
    streams: countedStreams(openStreams(streamsConfigOf(config)), metrics),
    openLanes: async (patience, stopping) => {
      const threads = threadsOf(config, availableParallelism());
      if (threads === 1) lanes.push(await openLocalLane(config, 1, log, metrics, patience));
      else
        for (let thread = 0; thread < threads; thread += 1)
          lanes.push(openThreadLane(config, threads, log, metrics, stopping));
      return lanes.map(({ lane }) => lane);
    },
    merger:
      config.VARVE_MERGE === "off"
        ? null
        : openMerger({ store, log, metrics, clock: systemClock, engine: duckdbEngine(megabytes(config)) }),
    upkeep: openUpkeep({
      store,
      log,
      clock: systemClock,
      logRetentionMs: config.VARVE_LOG_RETENTION,
      retentionMs: config.VARVE_RETENTION ?? null,
    }),
    configuration: { [HISTORY_KEY]: config.VARVE_HISTORY },
    flushMs: config.VARVE_FLUSH,
    heartbeatMs: beatMs,
  };
  try {
    view = await serveConsole(config, store, metrics, log);
    await runCompactor(deps, signal);
    log.info("stopped", {});
  } finally {
    await Promise.all(lanes.map(({ close }) => close()));
    await view?.close();
    await server?.close();
    opened.close();
  }
}

async function serveConsole(
  config: CompactorConfig,
  store: ObjectStore,
  metrics: PrometheusMetrics,
  log: CompactorLog,
): Promise<Console | null> {
  const { VARVE_CONSOLE: listen, VARVE_CONSOLE_TOKEN: token } = config;
  if (listen === undefined) return null;
  const { openConsole } = await import("../console/console.ts");
  const opened = await openConsole({
    listen,
    token,
    store,
    changelog: config.VARVE_CHANGELOG.address,
    endpoint: config.S3_ENDPOINT,
    metrics: metrics.text,
    clock: systemClock,
  });
  log.info("serving the console", { url: opened.url });
  return opened;
}

const megabytes = ({ VARVE_MERGE_MEMORY: bytes }: CompactorConfig): number =>
  Math.max(64, Math.round(bytes / 1024 ** 2));
