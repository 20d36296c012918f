/** `varve compactor`: the entry point. */
import { pino } from "pino";
import { writeCheckpoint } from "../shared/checkpoint.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import { heartbeatMs, parseCompactorConfig, pollDelays, s3ConfigOf } from "../shared/config.ts";
import { runCompactor } from "./compactor.ts";
import { openParquetWriter } from "./parquet.ts";
import { openStreams } from "./stream.ts";

const PARQUET_MEMORY_MAX_MB = 512;

export async function compactorMain(
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<void> {
  const config = parseCompactorConfig(environment);
  const logger = pino(
    { base: null, formatters: { level: (level) => ({ level }) }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  const store = openS3Store(s3ConfigOf(config));
  const parquet = await openParquetWriter(PARQUET_MEMORY_MAX_MB);
  const { minMs, maxMs } = pollDelays(config);
  try {
    await runCompactor(
      {
        store,
        parquet,
        checkpoint: (snapshot, giveUp) => writeCheckpoint(store, snapshot, giveUp),
        streams: openStreams({
          table: config.DYNAMODB_TABLE,
          region: config.AWS_REGION,
          endpoint: config.DYNAMODB_ENDPOINT,
          streamsEndpoint: config.DYNAMODB_STREAMS_ENDPOINT,
        }),
        clock: systemClock,
        log: {
          info: (what, fields) => logger.info(fields, what),
          warn: (what, fields) => logger.warn(fields, what),
        },
        flushMs: config.VARVE_FLUSH,
        flushBytes: config.VARVE_FLUSH_BYTES,
        heartbeatMs: heartbeatMs(config),
        pollMinMs: minMs,
        pollMaxMs: maxMs,
      },
      signal,
    );
    logger.info({}, "stopped");
  } finally {
    await parquet.close();
    store.close();
  }
}
