/** Real browser SDKs, unchanged, in a real Chromium; page unload included. */
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "../support/chromium.ts";
import { bodiesOf, startEdgeHost, until } from "../support/edge-host.ts";
import type { EdgeHost } from "../support/edge-host.ts";

const SEGMENT = `
import { AnalyticsBrowser } from "@segment/analytics-next";
window.start = (writeKey, edge, delivery) =>
  (window.analytics = AnalyticsBrowser.load(
    { writeKey, cdnURL: edge },
    { integrations: { "Segment.io": delivery ? { deliveryStrategy: delivery } : {} } },
  ));`;
const RUDDER = `
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";
window.start = (writeKey, edge, useBeacon) => {
  window.rudder = new RudderAnalytics();
  window.rudder.load(writeKey, edge, { configUrl: edge, useBeacon, lockIntegrationsVersion: true, lockPluginsVersion: true });
  return new Promise((resolve) => window.rudder.ready(resolve));
};`;

const JITSU = `
import { jitsuAnalytics } from "@jitsu/js";
window.start = (writeKey, host) => (window.jitsu = jitsuAnalytics({ host, writeKey, errorPolicy: "rethrow" }));`;

async function bundled(contents: string): Promise<string> {
  const built = await build({
    stdin: { contents, resolveDir: import.meta.dirname },
    bundle: true,
    format: "iife",
    platform: "browser",
    define: { "process.env.NODE_ENV": '"production"' },
    write: false,
    logLevel: "error",
  });
  return built.outputFiles[0]?.text ?? "";
}

let edge: EdgeHost;
let site: Server;
let browser: Browser;
let origin = "";

beforeAll(async () => {
  edge = await startEdgeHost({
    "wk-next": { id: "next" },
    "wk-unload": { id: "unload" },
    "wk-cookies": { id: "cookies" },
    "wk-rjs": { id: "rjs" },
    "wk-beacon": { id: "beacon" },
    "wk-jitsu:secret": { id: "jitsu" },
  });
  const scripts = new Map([
    ["/segment.js", await bundled(SEGMENT)],
    ["/rudder.js", await bundled(RUDDER)],
    ["/jitsu.js", await bundled(JITSU)],
  ]);
  site = createServer((request, response) => {
    const path = request.url ?? "/";
    const script = scripts.get(path);
    response.setHeader("Content-Type", script === undefined ? "text/html" : "text/javascript");
    response.end(script ?? `<!doctype html><title>Shop</title><script src="${path}.js"></script>`);
  });
  await new Promise<void>((resolve) => {
    site.listen(0, "127.0.0.1", resolve);
  });
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  browser = await launchChromium();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  site?.close();
  await edge?.stop();
});

async function open(path: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${origin}${path}`);
  return page;
}

/** The page's own globals, which no type here knows. */
const run = (page: Page, code: string): Promise<unknown> => page.evaluate(code);
const typesIn = async (source: string): Promise<string[]> =>
  bodiesOf(await edge.items(source))
    .map(({ type }) => String(type))
    .toSorted();

test("analytics-next fetches its settings, then sends each call", async () => {
  const page = await open("/segment");
  await run(page, `start("wk-next", "${edge.url}")`);
  await run(page, `analytics.identify("ann", { plan: "pro" })`);
  await run(page, `analytics.page("Home")`);
  await run(page, `analytics.track("Paid", { total: 5 })`);
  await run(page, `analytics.group("acme", { size: 5 })`);
  await run(page, `analytics.alias("ann2")`);
  await until(async () => (await typesIn("next")).length >= 5, 15_000);
  expect(await typesIn("next")).toEqual(["alias", "group", "identify", "page", "track"]);
  const items = await edge.items("next");
  expect(items.get("o#next#users#ann")).toMatchObject({ "p.plan": { S: "pro" } });
  const track = bodiesOf(items).find(({ type }) => type === "track");
  expect(track).toMatchObject({
    userId: "ann",
    anonymousId: expect.any(String),
    context: { page: { title: "Shop" } },
  });
  await page.close();
});

test("analytics-next in batches sends what it has when the page goes", async () => {
  const page = await open("/segment");
  await run(
    page,
    `start("wk-unload", "${edge.url}", { strategy: "batching", config: { size: 100, timeout: 600000 } })`,
  );
  for (let call = 0; call < 5; call++) await run(page, `analytics.track("Seen ${call}")`);
  expect(await typesIn("unload")).toEqual([]);
  await page.goto("about:blank");
  await until(async () => (await typesIn("unload")).length >= 5, 15_000);
  expect(await typesIn("unload")).toHaveLength(5);
  await page.close();
});

test("analytics-next that is told to send cookies along", async () => {
  const page = await open("/segment");
  await run(
    page,
    `start("wk-cookies", "${edge.url}", { strategy: "standard", config: { credentials: "include" } })`,
  );
  await run(page, `analytics.track("Paid", { total: 5 })`);
  await until(async () => (await typesIn("cookies")).length >= 1, 15_000);
  expect(await typesIn("cookies")).toEqual(["track"]);
  await page.close();
});

test("rudder analytics-js fetches its sourceConfig, then sends each call", async () => {
  const page = await open("/rudder");
  await run(page, `start("wk-rjs", "${edge.url}", false)`);
  await run(page, `rudder.identify("bob", { plan: "free" })`);
  await run(page, `rudder.page("Home")`);
  await run(page, `rudder.track("Paid", { total: 5 })`);
  await until(async () => (await typesIn("rjs")).length >= 3, 20_000);
  expect(await typesIn("rjs")).toEqual(["identify", "page", "track"]);
  expect((await edge.items("rjs")).get("o#rjs#users#bob")).toMatchObject({ "p.plan": { S: "free" } });
  await page.close();
});

test("rudder analytics-js by beacon, as the page goes", async () => {
  const page = await open("/rudder");
  await run(page, `start("wk-beacon", "${edge.url}", true)`);
  await run(page, `rudder.track("Left", { total: 5 })`);
  await page.goto("about:blank");
  await until(async () => (await typesIn("beacon")).length >= 1, 20_000);
  expect(await typesIn("beacon")).toEqual(["track"]);
  await page.close();
});

test("jitsu-js sends each call", async () => {
  const page = await open("/jitsu");
  await run(page, `void start("wk-jitsu:secret", "${edge.url}")`);
  await run(page, `jitsu.identify("cid", { plan: "pro" })`);
  await run(page, `jitsu.page("Home")`);
  await run(page, `jitsu.track("Paid", { total: 5 })`);
  await until(async () => (await typesIn("jitsu")).length >= 3, 15_000);
  expect(await typesIn("jitsu")).toEqual(["identify", "page", "track"]);
  expect((await edge.items("jitsu")).get("o#jitsu#users#cid")).toMatchObject({ "p.plan": { S: "pro" } });
  await page.close();
});
