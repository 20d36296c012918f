/** The store and the streams, with every call counted. */
import type { ObjectStore } from "../shared/store.ts";
import type { Metrics } from "./metrics.ts";
import type { Streams } from "./stream.ts";

type Counter = Pick<Metrics, "called" | "retried">;

export function countedStore(store: ObjectStore, { called, retried }: Counter): ObjectStore {
  return {
    get: (key, signal) => {
      called("S3 GET");
      return store.get(key, signal);
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
      return store.delete(key, signal);
    },
  };
}

export function countedStreams(streams: Streams, { called, retried }: Counter): Streams {
  return {
    describe: (signal) => {
      called("DescribeStream");
      return streams.describe(signal);
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
