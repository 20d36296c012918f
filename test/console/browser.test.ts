/** The console in a real Chromium, over a changelog that has seen three weeks. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layDown } from "../../bench/laid.ts";
import type { Console } from "../../console/console.ts";
import { openConsole } from "../../console/console.ts";
import { systemClock } from "../../shared/clock.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import type { Events } from "../../console/state.ts";
import type { Visitor } from "./visitor.ts";
import { SCREENSHOTS, barriers, openVisitor } from "./visitor.ts";
import { HOSTILE, METRICS, NOW, ROOT, layWorld } from "./world.ts";

const dir = mkdtempSync(join(tmpdir(), "varve-world-"));
let visitor: Visitor;
let view: Console;
let guarded: Console;
/** Those whose rows are few. */
const TABLES = "#changelog-gaps summary, #shards-table summary";
const TOKEN = "correct-horse-battery";

beforeAll(async () => {
  const store = openDirectoryStore(dir);
  await layWorld(store);
  let nowMs = NOW - 3 * 3_600_000;
  const options = {
    store,
    changelog: ROOT,
    metrics: async () => METRICS,
    clock: { ...systemClock, nowMs: () => nowMs },
  };
  view = await openConsole({ listen: { host: "127.0.0.1", port: 0 }, ...options });
  guarded = await openConsole({ listen: { host: "127.0.0.1", port: 0 }, token: TOKEN, ...options });
  nowMs = NOW;
  visitor = await openVisitor();
  await lookedInto(view.url, {});
  await lookedInto(guarded.url, { authorization: `Bearer ${TOKEN}` });
}, 120_000);
afterAll(async () => {
  await visitor?.close();
  await view?.close();
  await guarded?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Rows are looked into beside the answers: until those of the last minutes have been. */
async function lookedInto(url: string, headers: Record<string, string>): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    await (await fetch(`${url}api/state`, { headers })).arrayBuffer();
    const { events }: Events = JSON.parse(await (await fetch(`${url}api/events`, { headers })).text());
    if (events.some(({ changedMs }) => changedMs < NOW - 5 * 60_000)) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
  }
  throw new Error("the rows were not looked into");
}

const text = async (page: Page, selector: string): Promise<string> =>
  ((await page.locator(selector).first().textContent()) ?? "").replaceAll(/\s+/g, " ").trim();

async function open(options: Parameters<Visitor["visit"]>[1] = {}, first?: () => void) {
  const visit = await visitor.visit(view.url, options, first);
  await visit.page.waitForSelector("#events-rows .event");
  return visit;
}

const shoot = async (page: Page, name: string): Promise<void> => {
  const path = join(SCREENSHOTS, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  expect(statSync(path).size).toBeGreaterThan(20_000);
};

describe.each(["light", "dark"] as const)("in the %s", (colorScheme) => {
  test.each([
    ["wide", 1280, 900],
    ["narrow", 400, 850],
  ])("%s: whole, within its width, and open to all", async (name, width, height) => {
    const { page, complaints } = await open({ colorScheme, viewport: { width, height } });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(width);
    const ground = String(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
    const brightness = Number(/\d+/.exec(ground)?.[0]);
    if (colorScheme === "dark") expect(brightness).toBeLessThan(60);
    else expect(brightness).toBeGreaterThan(200);
    await page.locator("#events-status label", { hasText: "Rejected" }).click();
    await page.locator("#events-rows .event").nth(2).click();
    for (const summary of await page.locator(TABLES).all()) await summary.click();
    expect(await barriers(page)).toEqual([]);
    await page.locator("#changelog-windows summary").click();
    await page.locator("#changelog-commits summary").click();
    for (const region of await page.locator("main .scroll").all()) {
      const box = await region.boundingBox();
      if (box !== null) expect(box.x + box.width).toBeLessThanOrEqual(width);
    }
    await page.locator("#changelog-windows summary").click();
    await page.locator("#changelog-commits summary").click();
    for (const summary of await page.locator(TABLES).all()) await summary.click();
    await page.locator("#events-status label", { hasText: "All" }).click();
    await shoot(page, `${name}-${colorScheme}`);
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

test("each panel shows what the log says", async () => {
  const { page, complaints } = await open();
  expect(await text(page, "#address")).toBe(ROOT);
  expect(await text(page, "#health")).toMatch(/^complete up to [\d.]+ s ago · version \d+$/);
  expect(await text(page, "#tile-accepted .value")).toMatch(/^\d+\/s$/);
  expect(await text(page, "#tile-lag .value")).toMatch(/^[\d.]+ s$/);
  expect(await text(page, "#tile-gaps .value")).toBe("1");
  expect(await text(page, "#tile-held")).toContain("2 workers alive");
  expect(await page.locator("#charts canvas").count()).toBe(3);
  expect(await page.locator("#charts .plot").first().getAttribute("aria-label")).toMatch(
    /Rows a second .* accepted at most \d+/,
  );

  for (const level of [0, 1, 2, 3])
    expect(await page.locator(`#changelog-picture .window.level-${level}`).count()).toBeGreaterThan(0);
  expect(await page.locator("#changelog-picture .gap").count()).toBe(1);
  expect(await page.locator("#changelog-picture .commit").count()).toBeGreaterThan(100);
  expect(await page.locator("#changelog-picture .watermark").count()).toBe(1);
  expect(await page.locator("#changelog-picture svg").getAttribute("aria-label")).toMatch(
    /level 3: 18 files.*1 gap/,
  );
  await page.locator("#changelog-picture .window.level-3").last().hover();
  expect(await text(page, "#changelog-info")).toMatch(/^level 3, .* 1 file, [\d,]+ rows/);
  await page.locator("#changelog-gaps summary").click();
  expect(await text(page, "#changelog-gaps table")).toContain("trimmed before they were read");

  expect(await page.locator("#shards-picture .shard").count()).toBe(18);
  expect(await page.locator("#shards-picture .descent").count()).toBe(2);
  expect(await text(page, "#shards-about")).toMatch(
    /^4 open, the furthest [\d.]+ s behind · 14 read to the end$/,
  );
  expect(await text(page, "#shards-picture")).toContain("6ca9042e");

  expect(await text(page, "#cost .figure")).toMatch(/^\$\d+\.\d\d – \$\d+\.\d\d$/);
  expect(await text(page, "#cost-body")).toContain("S3 PUT4,270");
  expect(complaints).toEqual([]);
  await page.context().close();
});

test("a browser whose language Intl refuses shows the charts, too", async () => {
  const { page, complaints } = await open({}, () =>
    Object.defineProperty(navigator, "language", { value: "en-US@posix", configurable: true }),
  );
  expect(await page.locator("#charts canvas").count()).toBe(3);
  expect(complaints).toEqual([]);
  await page.context().close();
});

test("a changelog that is far behind does not look well", async () => {
  const behind = await openConsole({
    listen: { host: "127.0.0.1", port: 0 },
    store: openDirectoryStore(dir),
    changelog: ROOT,
    clock: { ...systemClock, nowMs: () => NOW + 20 * 60_000 },
  });
  const { page } = await visitor.visit(behind.url);
  await page.waitForSelector("#health[data-state=late]");
  expect(await text(page, "#health")).toMatch(/^complete up to 20 min( \d+ s)? ago · version \d+$/);
  expect(await barriers(page)).toEqual([]);
  await page.context().close();
  await behind.close();
});

test("the span of the picture can be chosen", async () => {
  const { page } = await open();
  const windows = () => page.locator("#changelog-picture .window").count();
  const all = await windows();
  await page.locator("#changelog-span label", { hasText: "1 hour" }).click();
  const hour = await windows();
  expect(hour).toBeLessThan(all);
  expect(await page.locator("#changelog-picture .window.level-3").count()).toBe(0);
  expect(await page.locator("#changelog-picture .gap").count()).toBe(0);
  await page.context().close();
});

test("events are filtered by status, source and any text, and opened to their JSON", async () => {
  const { page, complaints } = await open();
  const rows = page.locator("#events-rows .event");
  expect(await rows.count()).toBe(200);

  await page.locator("#events-status label", { hasText: "Rejected" }).click();
  const rejected = await rows.count();
  expect(rejected).toBeGreaterThan(10);
  expect(await page.locator("#events-rows .event:not(.rejected)").count()).toBe(0);
  expect(await text(page, "#events-said")).toBe(`${rejected} rows shown`);

  await page.fill("#events-filter", "missing_user");
  expect(await rows.count()).toBeGreaterThan(0);
  for (const reason of await page.locator("#events-rows td.reason").allTextContents())
    expect(reason).toContain("add one");

  await page.fill("#events-filter", "");
  await page.locator("#events-status label", { hasText: "Accepted" }).click();
  await page.selectOption("#events-source", "billing");
  expect(new Set(await page.locator("#events-rows td.source").allTextContents())).toEqual(
    new Set(["billing"]),
  );

  await page.fill("#events-filter", "welcome currency");
  await rows.first().click();
  const detail = page.locator("#events-rows .detail:not([hidden])");
  expect(await detail.locator(".json").textContent()).toContain('"coupon": "WELCOME"');
  expect(await detail.locator(".json .name").first().textContent()).toBe('"type"');
  expect(await detail.locator(".facts").textContent()).toContain("sequence number");
  await page.fill("#events-filter", "there is no such thing");
  expect(await text(page, "#events-empty")).toBe("No row fits the filter.");
  expect(complaints).toEqual([]);
  await page.context().close();
});

test("an event's name is text, whatever is in it", async () => {
  const { page, complaints } = await open();
  await page.fill("#events-filter", "onerror=");
  const row = page.locator("#events-rows .event").first();
  expect(await row.locator("td.name").textContent()).toBe(HOSTILE);
  await row.click();
  expect(await page.locator("#events-rows .detail:not([hidden]) .json").textContent()).toContain(
    "<img src=x onerror",
  );
  expect(await page.locator("#events-rows img, #events-rows script").count()).toBe(0);
  expect(await page.title()).toBe("Varve console");
  expect(complaints).toEqual([]);
  await page.context().close();
});

test("with the keyboard alone", async () => {
  const { page, complaints } = await open();
  const { keyboard } = page;
  const focused = (what: string) => page.evaluate(`document.activeElement.matches(${JSON.stringify(what)})`);
  await keyboard.press("Tab");
  expect(await focused(".skip:focus-visible")).toBe(true);
  await keyboard.press("Enter");
  expect(await focused("#main")).toBe(true);

  await keyboard.press("/");
  expect(await focused("#events-filter")).toBe(true);
  await keyboard.type("order completed");
  await keyboard.press("Tab");
  expect(await focused("#events-status input")).toBe(true);
  await keyboard.press("ArrowRight");
  expect(await focused("#status-accepted:checked")).toBe(true);
  await keyboard.press("Tab");
  expect(await focused("#events-source")).toBe(true);
  await keyboard.press("Tab");
  await keyboard.press("Space");
  expect(await focused("#events-pause[aria-pressed=true]")).toBe(true);
  await keyboard.press("Tab");
  expect(await focused("#events-rows .open:focus-visible")).toBe(true);
  await keyboard.press("ArrowDown");
  await keyboard.press("ArrowDown");
  await keyboard.press("Enter");
  expect(await focused(".open[aria-expanded=true]")).toBe(true);
  const opened = page.locator("#events-rows .event", { has: page.locator("[aria-expanded=true]") });
  expect(
    await opened.evaluate((row) => [...(row.parentElement?.querySelectorAll(".event") ?? [])].indexOf(row)),
  ).toBe(2);
  await keyboard.press("ArrowUp");
  await keyboard.press("Home");
  expect(await page.evaluate(`document.activeElement === document.querySelector("#events-rows .open")`)).toBe(
    true,
  );

  await page.locator("#theme").focus();
  const theme = () => page.evaluate("document.documentElement.dataset.theme ?? 'auto'");
  await keyboard.press("Enter");
  expect(await theme()).toBe("light");
  await keyboard.press("Enter");
  expect(await theme()).toBe("dark");
  await page.reload();
  expect(await theme()).toBe("dark");
  expect(complaints).toEqual([]);
  await page.context().close();
});

test("with a token: signing in, and nothing of it stays in the address", async () => {
  const { page } = await visitor.visit(guarded.url);
  expect(await page.title()).toBe("Varve console: sign in");
  expect(await barriers(page)).toEqual([]);
  await page.getByLabel("Token").fill("a wrong one, surely");
  await page.keyboard.press("Enter");
  await page.getByLabel("Token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#events-rows .event");
  expect(page.url()).toBe(guarded.url);
  expect(await page.evaluate("document.cookie")).toBe("");
  await page.context().close();
});

test("where nothing can be read it says what is wrong, and shows it once it is there", async () => {
  const empty = mkdtempSync(join(tmpdir(), "varve-empty-"));
  const store = openDirectoryStore(empty);
  const early = await openConsole({
    listen: { host: "127.0.0.1", port: 0 },
    changelog: ROOT,
    store,
    clock: systemClock,
  });
  try {
    const { page, complaints } = await visitor.visit(early.url);
    await page.waitForSelector("#problem:not([hidden])");
    expect(await text(page, "#problem")).toMatch(
      /^There is no changelog at this address yet\.The compactor makes it/,
    );
    expect(await text(page, "#health")).toBe("trouble");
    const laid = await layDown(store, Date.now() - 1_000);
    await page.waitForSelector("#problem", { state: "hidden" });
    expect(await text(page, "#health")).toBe("waiting for the first commit");
    await laid.close();
    expect(complaints).toEqual([]);
    await page.context().close();
  } finally {
    await early.close();
    rmSync(empty, { recursive: true, force: true });
  }
});
