/** The console of a running `varve local`, in a real Chromium: from the post to the page. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, newDataDir, removeDataDirs, startLocal } from "../local/system.ts";
import type { Started } from "../local/system.ts";
import type { Visitor } from "./visitor.ts";
import { openVisitor } from "./visitor.ts";

const dataDir = newDataDir();
let system: Started;
let visitor: Visitor;
beforeAll(async () => {
  [system, visitor] = await Promise.all([startLocal(dataDir, "--flush", "300ms"), openVisitor()]);
}, 120_000);
afterAll(async () => {
  await visitor?.close();
  await system?.stop();
  removeDataDirs();
});

async function post(batch: readonly unknown[]): Promise<unknown> {
  const { endpoint, writeKey } = system.running;
  const answer = await fetch(`${endpoint}/v1/batch`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${writeKey}:`)}` },
    body: JSON.stringify({ batch }),
  });
  return answer.json();
}

test("what is posted is seen: accepted, rejected with its reason, counted, and drawn", async () => {
  const { page, complaints } = await visitor.visit(system.running.console);
  await page.waitForSelector("#health[data-state=live]");
  expect(await page.textContent("#events-empty")).toContain("Nothing yet");

  const answer = await post([
    { type: "track", userId: "u1", event: "<b>Paid</b>", properties: { total: 12.5 } },
    { type: "identify", userId: "u1", traits: { name: "Ada" } },
    { type: "track", event: "Nobody's" },
  ]);
  expect(answer).toMatchObject({ success: true, accepted: 2 });
  await page.locator("#events-rows .event").nth(3).waitFor();
  const rows = async (status: string): Promise<string[]> =>
    (await page.locator(`#events-rows .event.${status} td.name`).allTextContents()).toSorted();
  expect(await rows("accepted")).toEqual(["", "<b>Paid</b>"]);
  expect(await rows("object")).toEqual(["users/u1"]);
  expect(await rows("rejected")).toEqual(["Nobody's"]);
  expect(await page.textContent("#events-rows .rejected td.reason")).toMatch(/^missing_id: .*at least one/);

  await page.locator("#events-rows .event", { hasText: "<b>Paid</b>" }).click();
  expect(await page.textContent("#events-rows .detail:not([hidden]) .json")).toContain('"total": 12.5');

  await page.locator("#changelog-picture .flush").first().waitFor();
  await page.locator("#shards-picture .shard.open").first().waitFor();
  await page.waitForFunction(`document.querySelector("#tile-accepted b")?.textContent !== "–"`);
  await page.waitForFunction(
    `/\\$/.test(document.querySelector("#cost .card:last-child .figure")?.textContent ?? "")`,
  );
  expect(await page.textContent("#address")).toBe(system.running.changelog);
  expect(complaints).toEqual([]);
  await page.context().close();
});

const compactorPid = (): number =>
  Number(
    system.events.findLast(({ event, part }) => event === "started" && part === "compactor")?.["pid"] ??
      system.running.processes["compactor"],
  );

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is away already.
  }
}

test("while its process is away the page says so, and goes on when it is back", async () => {
  const { page } = await visitor.visit(system.running.console);
  await page.waitForSelector("#health[data-state=live]");
  // It may be back before the page looks: it is killed until the page has seen it away.
  await eventually("the page has a problem", async () => {
    kill(compactorPid());
    return page.isVisible("#problem");
  });
  expect(await page.textContent("#problem")).toContain("does not answer");
  await eventually("it is told to have started again", () =>
    system.events.some((told) => told["event"] === "started" && told["part"] === "compactor"),
  );
  await page.waitForSelector("#health[data-state=live]", { timeout: 40_000 });
  expect(await page.isHidden("#problem")).toBe(true);
  await post([{ type: "track", userId: "u2", event: "Afterwards" }]);
  await page.locator("#events-rows .event", { hasText: "Afterwards" }).waitFor();
  await page.context().close();
});
