/** A real client SDK through the whole path, over a connection that fails before and after the edge has done its work. */
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { Analytics } from "@segment/analytics-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RunningSystem } from "./system.ts";
import { allRows, makeDataDir, settle, startSystem, verifySystem } from "./system.ts";

const EVENTS = 2000;
const USERS = 50;
const COMPANIES = 7;

const data = makeDataDir();
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem(data.dir);
});
afterAll(async () => {
  await system.stop();
  data.remove();
});

/** In front of the edge: every fifth request is refused with a 503, every seventh is done, but its answer is lost. */
async function openFaultyProxy(
  target: string,
): Promise<{ url: string; refused: () => number; lost: () => number; close: () => void }> {
  let requests = 0;
  let refused = 0;
  let lost = 0;
  const server = createServer((incoming, outgoing) => {
    requests += 1;
    const [refuse, lose] = [requests % 5 === 0, requests % 7 === 0];
    if (refuse) {
      refused += 1;
      incoming.resume().on("end", () => {
        outgoing.writeHead(503, { "retry-after": "1", "content-type": "application/json" });
        outgoing.end('{"error":"unavailable","code":"injected","message":"injected"}');
      });
      return;
    }
    const forward = request(
      `${target}${incoming.url}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        if (lose) {
          lost += 1;
          answer.resume().on("end", () => outgoing.destroy());
          return;
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    forward.on("error", () => outgoing.destroy());
    incoming.pipe(forward);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    refused: () => refused,
    lost: () => lost,
    close: () => server.close(),
  };
}

/** What event `index` is, and what it makes of its user or company. */
function send(analytics: Analytics, index: number, messageId: string): void {
  const userId = `user-${index % USERS}`;
  const common = { userId, messageId, timestamp: new Date(Date.UTC(2026, 0, 1, 0, 0, index)) };
  switch (index % 6) {
    case 0:
      return analytics.identify({ ...common, traits: { [`trait_${index % 11}`]: index, last: index } });
    case 1:
      return analytics.group({ ...common, groupId: `company-${index % COMPANIES}`, traits: { last: index } });
    case 2:
      return analytics.page({ ...common, name: `Page ${index}` });
    case 3:
      return analytics.screen({ ...common, name: `Screen ${index}` });
    case 4:
      return analytics.alias({
        messageId,
        userId,
        previousId: `anonymous-${index}`,
        timestamp: common.timestamp,
      });
    default:
      return analytics.track({ ...common, event: "Order Completed", properties: { index, total: 12.5 } });
  }
}

test("2,000 mixed events of analytics-node stand in the changelog once each, users and accounts merged", async () => {
  const proxy = await openFaultyProxy(system.running.endpoint);
  const analytics = new Analytics({
    writeKey: system.running.writeKey,
    host: proxy.url,
    maxRetries: 30,
    flushInterval: 200,
  });
  const failed: unknown[] = [];
  analytics.on("error", (error) => failed.push(error));
  const sent = new Map<string, number>();
  for (let index = 0; index < EVENTS; index += 1) {
    const messageId = `message-${index}`;
    sent.set(messageId, index);
    send(analytics, index, messageId);
  }
  await analytics.closeAndFlush({ timeout: 240_000 });
  proxy.close();
  expect(failed).toEqual([]);
  expect(proxy.refused()).toBeGreaterThan(5);
  expect(proxy.lost()).toBeGreaterThan(5);

  await settle(data.dir);
  await checkChangelog(sent);

  await system.stop();
  system = await startSystem(data.dir);
  await settle(data.dir);
  await checkChangelog(sent);
}, 300_000);

async function checkChangelog(sent: ReadonlyMap<string, number>): Promise<void> {
  const rows = await allRows(data.dir);
  const events = rows.filter((row) => row.kind === "event");
  expect(events.map((row) => row.id ?? "").toSorted()).toEqual([...sent.keys()].toSorted());
  expect(
    Object.fromEntries(
      Map.groupBy(events, (row) => row.collection ?? "")
        .entries()
        .map(([name, of]) => [name, of.length]),
    ),
  ).toEqual({ identifies: 334, groups: 334, pages: 333, screens: 333, aliases: 333, tracks: 333 });

  const latest = new Map(
    rows.filter((row) => row.kind === "object").map((row) => [`${row.collection}/${row.id}`, row.image]),
  );
  const expected = new Map<string, Record<string, number>>();
  for (const index of sent.values()) {
    if (index % 6 === 0) {
      const key = `users/user-${index % USERS}`;
      expected.set(key, { ...expected.get(key), [`trait_${index % 11}`]: index, last: index });
    } else if (index % 6 === 1) {
      const key = `accounts/company-${index % COMPANIES}`;
      expected.set(key, { ...expected.get(key), last: index });
    }
  }
  // A user's later write may land before an earlier one: `last` is the newest by event time, any other trait may
  // be the first to have come. Whether it is what the table holds is compared by verify.
  expect([...latest.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
  for (const [key, properties] of expected) {
    const image = JSON.parse(latest.get(key) ?? "null") as Record<string, number>;
    expect(image["last"], key).toBe(properties["last"]);
    expect(Object.keys(image).toSorted(), key).toEqual(Object.keys(properties).toSorted());
  }
  const report = await verifySystem(data.dir);
  expect(report.problems).toEqual([]);
}
