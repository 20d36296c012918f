/**
 * One way to read the canned stream, in a process of its own, so that the CPU time counted is its alone:
 * all threads of the process, and nothing of the servers. Each message is a round; its answer says what it cost.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DynamoDBStreamsClient, GetRecordsCommand } from "@aws-sdk/client-dynamodb-streams";
import { runCompactor } from "../compactor/compactor.ts";
import { openLane } from "../compactor/lane.ts";
import { NO_METRICS } from "../compactor/metrics.ts";
import { openStages } from "../compactor/stage.ts";
import { openStreams } from "../compactor/stream.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import type { Contest, Round } from "./compactor.ts";

const contest = JSON.parse(process.argv[2] ?? "null") as Contest;
const REGION = "eu-north-1";

/** Reads at most so many records, from the shard's start; gives how many it read. */
type Contestant = (recordsMax: number, round: number) => Promise<number>;

const fetchAndParse: Contestant = async (recordsMax) => {
  let records = 0;
  let iterator: string | undefined = "page-0";
  while (iterator !== undefined && records < recordsMax) {
    const answer: Response = await fetch(contest.streams, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDBStreams_20120810.GetRecords",
      },
      body: JSON.stringify({ ShardIterator: iterator, Limit: 1000 }),
    });
    const page = JSON.parse(await answer.text()) as { Records: unknown[]; NextShardIterator?: string };
    records += page.Records.length;
    iterator = page.NextShardIterator;
  }
  return records;
};

function sdk(): Contestant {
  const client = new DynamoDBStreamsClient({ region: REGION, endpoint: contest.streams });
  return async (recordsMax) => {
    let records = 0;
    let iterator: string | undefined = "page-0";
    while (iterator !== undefined && records < recordsMax) {
      const page: { Records?: unknown[] | undefined; NextShardIterator?: string | undefined } =
        await client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: 1000 }));
      records += page.Records?.length ?? 0;
      iterator = page.NextShardIterator;
    }
    return records;
  };
}

const FLUSH_MS = 2_000;

/** From GetRecords bodies to Parquet files on S3, committed to a changelog of its own each round. */
function compactor(): Contestant {
  const openStage = openStages(2 * contest.flushBytes);
  const streams = openStreams({ table: "bench", region: REGION, endpoint: contest.streams });
  return async (recordsMax, round) => {
    const store = openS3Store({
      bucket: contest.bucket,
      prefix: `bench/${process.pid}-${round}/`,
      region: "auto",
      endpoint: contest.s3,
      credentials: contest.s3Credentials,
    });
    const done = new AbortController();
    let records = 0;
    const committed = (fields: Record<string, unknown>): void => {
      records += Number(fields["records"] ?? 0);
      if (records >= recordsMax) done.abort();
    };
    const clock = systemClock;
    const log = {
      info: (_: string, fields: Record<string, unknown>) => committed(fields),
      warn: (what: string, fields: Record<string, unknown>) => console.error(what, fields),
    };
    const { flushBytes } = contest;
    await runCompactor(
      {
        store,
        streams,
        clock,
        log,
        metrics: NO_METRICS,
        openLanes: async (patience) => [
          await openLane({
            store,
            streams,
            openStage,
            clock,
            log,
            patience,
            flushMs: FLUSH_MS,
            flushBytes,
            answersMax: 32,
            pollMinMs: 100,
            pollMaxMs: 1_000,
          }),
        ],
        merger: null,
        upkeep: { run: async () => {} },
        configuration: {},
        flushMs: FLUSH_MS,
        heartbeatMs: 60_000,
      },
      done.signal,
    );
    store.close();
    return records;
  };
}

function choose(): Contestant {
  if (contest.name === "fetch") return fetchAndParse;
  return contest.name === "sdk" ? sdk() : compactor();
}

const contestant = choose();
let rounds = 0;
process.on("message", (message: { readonly recordsMax: number }) => {
  void (async () => {
    // What the round before left to the garbage collector is not this round's.
    globalThis.gc?.();
    await sleep(50);
    const before = process.cpuUsage();
    const records = await contestant(message.recordsMax, rounds++);
    const { user, system } = process.cpuUsage(before);
    process.send?.({ records, cpuUs: user + system } satisfies Round);
  })();
});
process.on("disconnect", () => process.exit());
process.send?.({ ready: true });
