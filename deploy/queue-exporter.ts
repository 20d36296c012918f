/**
 * The depth of the edge's two queues, for Prometheus: `npx node deploy/queue-exporter.ts`, then scrape /metrics.
 * Cloudflare averages a queue's backlog by the minute: https://developers.cloudflare.com/queues/observability/metrics/
 */
import { createServer } from "node:http";
import { z } from "zod";
import { parseEnvironment } from "../shared/config.ts";
import { describeError } from "../shared/errors.ts";

const ENV = z.object({
  CLOUDFLARE_ACCOUNT_ID: z.string({ error: "is not set" }).min(1),
  /** With the right to read the account's analytics, and no other. */
  CLOUDFLARE_API_TOKEN: z.string({ error: "is not set" }).min(1),
  /** `npx wrangler queues info varve-spill` shows it. */
  SPILL_QUEUE_ID: z.string({ error: "is not set" }).min(1),
  DEAD_LETTER_QUEUE_ID: z.string({ error: "is not set" }).min(1),
  PORT: z.coerce.number().int().min(0).max(65_535).default(9465),
  HOST: z.string().default("127.0.0.1"),
  CLOUDFLARE_GRAPHQL: z.url().default("https://api.cloudflare.com/client/v4/graphql"),
});
type Config = z.infer<typeof ENV>;

export type Backlog = { readonly messages: number; readonly bytes: number };

const ANSWER = z.object({
  data: z.object({
    viewer: z.object({
      accounts: z.array(
        z.object({
          queueBacklogAdaptiveGroups: z.array(
            z.object({ avg: z.object({ messages: z.number(), bytes: z.number() }) }),
          ),
        }),
      ),
    }),
  }),
});

const QUERY = `query ($account: string!, $queue: string!, $from: Time!, $to: Time!) {
  viewer { accounts(filter: {accountTag: $account}) {
    queueBacklogAdaptiveGroups(limit: 1, orderBy: [datetimeMinute_DESC],
      filter: {queueId: $queue, datetime_geq: $from, datetime_leq: $to}) {
      avg { messages bytes } dimensions { datetimeMinute } } } } }`;

const LOOK_BACK_MS = 15 * 60_000;
const TIMEOUT_MS = 10_000;

/** The newest average. A queue that nothing was sent to for a while has no figures: it is empty. */
async function readBacklog(config: Config, queue: string, nowMs: number): Promise<Backlog> {
  const answer = await fetch(config.CLOUDFLARE_GRAPHQL, {
    method: "POST",
    headers: {
      authorization: `Bearer ${config.CLOUDFLARE_API_TOKEN}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({
      query: QUERY,
      variables: {
        account: config.CLOUDFLARE_ACCOUNT_ID,
        queue,
        from: new Date(nowMs - LOOK_BACK_MS).toISOString(),
        to: new Date(nowMs).toISOString(),
      },
    }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`Cloudflare answered ${answer.status}: ${text.slice(0, 200)}`);
  const parsed = ANSWER.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`Cloudflare's answer has no backlog in it: ${text.slice(0, 200)}`);
  const [group] = parsed.data.data.viewer.accounts[0]?.queueBacklogAdaptiveGroups ?? [];
  return group?.avg ?? { messages: 0, bytes: 0 };
}

/** Prometheus text. When Cloudflare does not say, only that is told: a depth of 0 would be a lie. */
export function queueMetrics(spill: Backlog | null, dead: Backlog | null): string {
  const lines = [
    "# HELP varve_queues_seen 1 while the depth of both queues is known",
    "# TYPE varve_queues_seen gauge",
    `varve_queues_seen ${spill === null || dead === null ? 0 : 1}`,
  ];
  const gauge = (name: string, help: string, value: number): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${value}`);
  };
  if (spill !== null) {
    gauge("varve_spill_messages", "Messages in the spill queue", spill.messages);
    gauge("varve_spill_bytes", "Bytes in the spill queue", spill.bytes);
  }
  if (dead !== null) {
    gauge("varve_dead_letter_messages", "Messages in the dead-letter queue", dead.messages);
    gauge("varve_dead_letter_bytes", "Bytes in the dead-letter queue", dead.bytes);
  }
  return `${lines.join("\n")}\n`;
}

export function serveQueueMetrics(environment: Readonly<Record<string, string | undefined>>) {
  const config = parseEnvironment(
    ENV,
    environment,
    "docs/deploy.md tells what each is, and where to find it.",
  );
  const read = (queue: string): Promise<Backlog | null> =>
    readBacklog(config, queue, Date.now()).catch((error: unknown) => {
      console.error(`queue-exporter: ${describeError(error)}`);
      return null;
    });
  const server = createServer((request, response) => {
    if (request.url?.split("?")[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    void Promise.all([read(config.SPILL_QUEUE_ID), read(config.DEAD_LETTER_QUEUE_ID)]).then(([spill, dead]) =>
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(queueMetrics(spill, dead)),
    );
  });
  return server.listen(config.PORT, config.HOST);
}

if (import.meta.main) {
  try {
    serveQueueMetrics(process.env);
  } catch (error) {
    console.error(`queue-exporter: ${describeError(error)}`);
    process.exitCode = 1;
  }
}
