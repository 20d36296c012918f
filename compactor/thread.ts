/**
 * Lanes in threads of their own, so that a process uses its cores. Records are parsed, written and uploaded in
 * the thread that read them; what crosses is a lane's batch.
 */
import { Worker, parentPort, workerData } from "node:worker_threads";
import { openS3Store } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import type { CompactorConfig } from "../shared/config.ts";
import { pollDelays, s3ConfigOf, spareBytes } from "../shared/config.ts";
import { VarveError } from "../shared/errors.ts";
import { countedStore, countedStreams } from "./counted.ts";
import type { Lane, LaneBatch } from "./lane.ts";
import { openLane } from "./lane.ts";
import type { Start } from "./lineage.ts";
import type { CallName, Metrics } from "./metrics.ts";
import type { CompactorLog, Patience } from "./patience.ts";
import { openPatience } from "./patience.ts";
import { openStages } from "./stage.ts";
import { openStreams } from "./stream.ts";

/** Of a process, its lanes together. */
const ANSWERS_MAX = 16;
/** What a lane of many has at least. */
const ANSWERS_MIN = 2;
/**
 * Answers are short-lived: a thread's heap is not to grow by them before they are collected. The larger their part of
 * it, the fewer are copied while they are worked on: a tenth of the work, where there is memory for it.
 */
const YOUNG_MB = 48;
const YOUNG_AMPLE_MB = 96;
const AMPLE_BYTES = 32 * 1024 ** 2;

type Ask =
  | { readonly call: "assign"; readonly shards: ReadonlyMap<string, Start> }
  | { readonly call: "take"; readonly forced: boolean }
  | { readonly call: "reset" | "stop" | "close" };
type Request = { readonly id: number; readonly ask: Ask } | { readonly stopping: true };
type Fault = { readonly message: string; readonly code: string | null; readonly fix: string };
type Reply =
  | {
      readonly id: number;
      readonly batch?: LaneBatch | null;
      readonly bufferedBytes: number;
      readonly fault?: Fault;
    }
  | { readonly log: keyof CompactorLog; readonly what: string; readonly fields: Record<string, unknown> }
  | { readonly full: true }
  | { readonly called: CallName }
  | { readonly retried: CallName };

export type OpenedLane = { readonly lane: Lane; readonly close: () => Promise<void> };

/** A lane in this thread, one of `lanes` in the process: it takes its share, so that many hold no more than one. */
export async function openLocalLane(
  config: CompactorConfig,
  lanes: number,
  log: CompactorLog,
  metrics: Pick<Metrics, "called" | "retried">,
  patience: Patience,
): Promise<OpenedLane> {
  const store = openS3Store(s3ConfigOf(config));
  const { minMs, maxMs } = pollDelays(config);
  const flushBytes = Math.ceil(config.VARVE_FLUSH_BYTES / lanes);
  const lane = await openLane({
    store: countedStore(store, metrics),
    streams: countedStreams(openStreams(streamsConfigOf(config)), metrics),
    openStage: openStages(flushBytes),
    clock: systemClock,
    log,
    patience,
    flushMs: config.VARVE_FLUSH,
    flushBytes,
    answersMax: Math.max(ANSWERS_MIN, Math.ceil(ANSWERS_MAX / lanes)),
    pollMinMs: minMs,
    pollMaxMs: maxMs,
  });
  return {
    lane,
    close: async () => {
      await lane.close();
      store.close();
    },
  };
}

export const streamsConfigOf = (config: CompactorConfig): Parameters<typeof openStreams>[0] => ({
  table: config.DYNAMODB_TABLE,
  region: config.AWS_REGION,
  endpoint: config.DYNAMODB_ENDPOINT,
  streamsEndpoint: config.DYNAMODB_STREAMS_ENDPOINT,
});

/** A lane in a new thread. `stopping` tells it that patience begins to run out. */
export function openThreadLane(
  config: CompactorConfig,
  lanes: number,
  log: CompactorLog,
  metrics: Pick<Metrics, "called" | "retried">,
  stopping: AbortSignal,
): OpenedLane {
  const worker = new Worker(import.meta.filename, {
    workerData: { varveLane: config, lanes },
    resourceLimits: {
      maxYoungGenerationSizeMb: spareBytes(config, lanes) >= lanes * AMPLE_BYTES ? YOUNG_AMPLE_MB : YOUNG_MB,
    },
  });
  const waiting = new Map<number, PromiseWithResolvers<LaneBatch | null>>();
  let next = 0;
  let bufferedBytes = 0;
  let dead: Error | null = null;
  let full = (): void => {};

  worker.on("message", (reply: Reply) => {
    if ("log" in reply) log[reply.log](reply.what, reply.fields);
    else if ("full" in reply) full();
    else if ("called" in reply) metrics.called(reply.called);
    else if ("retried" in reply) metrics.retried(reply.retried);
    else {
      ({ bufferedBytes } = reply);
      const asked = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (reply.fault === undefined) asked?.resolve(reply.batch ?? null);
      else asked?.reject(errorOf(reply.fault));
    }
  });
  worker.on("error", (error) => {
    dead = error instanceof Error ? error : new Error(String(error));
    for (const asked of waiting.values()) asked.reject(dead);
    waiting.clear();
  });
  const ask = (what: Ask): Promise<LaneBatch | null> => {
    if (dead !== null) return Promise.reject(dead);
    const asked = Promise.withResolvers<LaneBatch | null>();
    waiting.set((next += 1), asked);
    worker.postMessage({ id: next, ask: what } satisfies Request);
    return asked.promise;
  };
  stopping.addEventListener("abort", () => worker.postMessage({ stopping: true } satisfies Request), {
    once: true,
  });

  const quiet = async (what: Ask): Promise<void> => {
    await ask(what);
  };
  return {
    lane: {
      assign: (shards) => quiet({ call: "assign", shards }),
      take: (forced) => ask({ call: "take", forced }),
      reset: () => quiet({ call: "reset" }),
      stop: () => quiet({ call: "stop" }),
      close: () => quiet({ call: "close" }),
      onFull: (listener) => {
        full = listener;
      },
      bufferedBytes: () => bufferedBytes,
    },
    close: async () => {
      await quiet({ call: "close" }).catch(() => undefined);
      await worker.terminate();
    },
  };
}

const faultOf = (error: unknown): Fault =>
  error instanceof VarveError
    ? { message: error.message, code: error.code, fix: error.fix }
    : {
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        code: null,
        fix: "",
      };

const errorOf = ({ message, code, fix }: Fault): Error =>
  code === null ? new Error(message) : new VarveError(code, message, fix);

/** The thread's side. */
async function serveLane(
  port: NonNullable<typeof parentPort>,
  { varveLane: config, lanes }: LaneData,
): Promise<void> {
  const send = (reply: Reply) => port.postMessage(reply);
  const log: CompactorLog = {
    info: (what, fields) => send({ log: "info", what, fields }),
    warn: (what, fields) => send({ log: "warn", what, fields }),
  };
  const stopping = new AbortController();
  const patience = openPatience(systemClock, log, stopping.signal);
  const metrics = {
    called: (called: CallName) => send({ called }),
    retried: (retried: CallName) => send({ retried }),
  };
  const opening = openLocalLane(config, lanes, log, metrics, patience);
  const answer = async (ask: Ask): Promise<LaneBatch | null> => {
    const { lane, close } = await opening;
    if (ask.call === "take") return lane.take(ask.forced);
    if (ask.call === "assign") await lane.assign(ask.shards);
    else if (ask.call === "close") await close();
    else await lane[ask.call]();
    return null;
  };
  port.on("message", (request: Request) => {
    if ("stopping" in request) return stopping.abort();
    const { id, ask } = request;
    void answer(ask).then(
      async (batch) => send({ id, batch, bufferedBytes: (await opening).lane.bufferedBytes() }),
      (error: unknown) => send({ id, bufferedBytes: 0, fault: faultOf(error) }),
    );
  });
  (await opening).lane.onFull(() => send({ full: true }));
}

type LaneData = { readonly varveLane: CompactorConfig; readonly lanes: number };

const started = workerData as LaneData | null;
if (parentPort !== null && started?.varveLane !== undefined) await serveLane(parentPort, started);
