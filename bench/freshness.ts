/**
 * How soon an event is in the changelog: from the POST to the row in what `varve changes` gives, through the whole
 * system on this machine. One program posts and reads; the reader asks again as soon as it has its answer.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Running } from "../local/running.ts";
import type { Changelog } from "../reader/changelog.ts";
import { openChangelog } from "../reader/changelog.ts";
import type { Changes } from "../reader/changelog.ts";
import type { Since } from "../reader/range.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { parseRoot } from "../shared/keys.ts";
import type { BenchRow } from "./report.ts";
import { quantile } from "./report.ts";

const FLUSH_MS = 1000;
const POSTS = 100;
/** Not a divisor of the flush interval, so that posts meet it at every phase. */
const POST_EVERY_MS = 330;
const WARM_UP_POSTS = 5;
const READ_PAUSE_MS = 20;
const LATEST_MS = 30_000;
const STOP_MS_MAX = 30_000;

export async function benchFreshness(progress: (what: string) => void): Promise<BenchRow[]> {
  progress("starting the system");
  const system = await startSystem();
  try {
    const store = openS3Store(storeOf(system.running));
    const changelog = await openChangelog(store);
    await measure(system.running, changelog, WARM_UP_POSTS, () => {});
    const delaysMs = await measure(system.running, changelog, POSTS, (seen) =>
      progress(`${seen} of ${POSTS} events seen`),
    );
    store.close();
    return rowsOf(delaysMs);
  } finally {
    await system.stop();
  }
}

function rowsOf(delaysMs: readonly number[]): BenchRow[] {
  const row = (name: string, value: number, limit: number | null): BenchRow => ({
    name: `POST to visible in changes, flush ${FLUSH_MS / 1000} s, ${name}`,
    value,
    unit: "ms",
    limit,
    ratio: null,
  });
  return [
    row("p50", quantile(delaysMs, 0.5), null),
    row("p99", quantile(delaysMs, 0.99), FLUSH_MS + 1000),
    row("most", Math.max(...delaysMs), null),
  ];
}

/** Posts `count` events spread over time; gives how long each took to be seen, ms. */
async function measure(
  running: Running,
  changelog: Changelog,
  count: number,
  report: (seen: number) => void,
): Promise<number[]> {
  const postedMs = new Map<string, number>();
  const delaysMs: number[] = [];
  const run = crypto.randomUUID();
  const posting = (async () => {
    for (let index = 0; index < count; index += 1) {
      const messageId = `bench-${run}-${index}`;
      postedMs.set(messageId, performance.now());
      await post(running, messageId);
      await sleep(POST_EVERY_MS);
    }
  })();
  let fault: unknown;
  posting.catch((error: unknown) => (fault = error));
  let since: Since = { kind: "time", ms: Date.now() - FLUSH_MS };
  const deadlineMs = performance.now() + count * POST_EVERY_MS * 2 + LATEST_MS;
  while (delaysMs.length < count) {
    if (fault !== undefined) throw fault;
    if (performance.now() > deadlineMs) {
      throw new Error(`only ${delaysMs.length} of ${count} events were seen in the changelog`);
    }
    const { rows, next }: Changes = await changelog.changesSince(since);
    const ids: (string | null)[] = [];
    for await (const { id } of rows) ids.push(id);
    const seenMs = performance.now();
    for (const id of ids) {
      const from = id === null ? undefined : postedMs.get(id);
      if (from === undefined) continue;
      delaysMs.push(seenMs - from);
      if (delaysMs.length % 20 === 0) report(delaysMs.length);
    }
    since = next;
    await sleep(READ_PAUSE_MS);
  }
  await posting;
  return delaysMs;
}

async function post({ endpoint, writeKey }: Running, messageId: string): Promise<void> {
  const answer = await fetch(`${endpoint}/v1/track`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Basic ${btoa(`${writeKey}:`)}` },
    body: JSON.stringify({
      messageId,
      userId: "user-1",
      event: "Product Viewed",
      properties: { price: 19.99 },
    }),
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`the edge answered ${answer.status}: ${text}`);
}

function storeOf({ changelog, s3, s3Credentials }: Running): Parameters<typeof openS3Store>[0] {
  const root = parseRoot(changelog);
  if (root === null) throw new Error(`${changelog} is not a changelog's address`);
  const { region, ...credentials } = s3Credentials;
  return { ...root, region, endpoint: s3, credentials };
}

type System = { readonly running: Running; readonly stop: () => Promise<void> };

/** `varve local` on data of its own, which are removed when it stops. */
async function startSystem(): Promise<System> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-"));
  const main = join(import.meta.dirname, "../cli/main.ts");
  const args = ["local", "--json", "--port", "0", "--flush", `${FLUSH_MS}ms`, "--data", join(dir, "data")];
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await Promise.race([ended, sleep(STOP_MS_MAX, undefined, { ref: false })]);
    await rm(dir, { recursive: true, force: true });
  };
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
  const lines = createInterface(child.stdout);
  const first = await Promise.race([
    once(lines, "line").then(([line]) => line as string),
    ended.then(() => null),
  ]);
  const running = first === null ? undefined : Running.safeParse(JSON.parse(first)).data;
  if (running !== undefined) return { running, stop };
  await stop();
  throw new Error(`varve local did not start: ${said.trim()}`);
}
