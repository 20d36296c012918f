/** The store and the streams, with every call counted. */
import type { ObjectStore } from "../shared/store.ts";
import type { Metrics } from "./metrics.ts";
import type { Streams } from "./stream.ts";

type Counter = Pick<Metrics, "called" | "retried">;

/** What fails is made again, in its turn. What was cut short is not. */
const orRetried = <T>(answer: Promise<T>, retried: () => void, signal: AbortSignal | undefined): Promise<T> =>
  answer.catch((error: unknown) => {
    if (signal?.aborted !== true) retried();
    throw error;
  });

export function countedStore(store: ObjectStore, { called, retried }: Counter): ObjectStore {
  return {
    get: (key, signal) => {
      called("S3 GET");
      return orRetried(store.get(key, signal), () => retried("S3 GET"), signal);
    },
    put: async (key, body, condition, signal) => {
      called("S3 PUT");
      const outcome = await store.put(key, body, condition, signal);
      if (outcome.kind === "unknown") retried("S3 PUT");
      return outcome;
    },
    list: (prefix, startAfter, signal) => {
      called("S3 LIST");
      return store.list(prefix, startAfter, signal);
    },
    delete: (key, signal) => {
      called("S3 DELETE");
      return orRetried(store.delete(key, signal), () => retried("S3 DELETE"), signal);
    },
  };
}

export function countedStreams(streams: Streams, { called, retried }: Counter): Streams {
  return {
    describe: (signal) => {
      called("DescribeStream");
      return orRetried(streams.describe(signal), () => retried("DescribeStream"), signal);
    },
    openIterator: async (arn, shard, after, signal) => {
      called("GetShardIterator");
      const outcome = await streams.openIterator(arn, shard, after, signal);
      if (outcome.kind === "retry") retried("GetShardIterator");
      return outcome;
    },
    getRecords: async (iterator, signal) => {
      called("GetRecords");
      const outcome = await streams.getRecords(iterator, signal);
      if (outcome.kind === "retry") retried("GetRecords");
      return outcome;
    },
  };
}
