/** Looks at the console in a real Chromium, and holds it to what it promises. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import axe from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { launchChromium } from "../support/chromium.ts";

export type Visit = {
  readonly page: Page;
  /** Whatever went wrong in the page: errors, warnings, requests to anywhere else. */
  readonly complaints: readonly string[];
};

export type Visitor = {
  /** @param first runs in the page before any script of its own */
  readonly visit: (url: string, options?: BrowserContextOptions, first?: () => void) => Promise<Visit>;
  readonly close: () => Promise<void>;
};

export async function openVisitor(): Promise<Visitor> {
  const browser = await launchChromium();
  return {
    visit: async (url, options = {}, first?: () => void) => {
      const context = await browser.newContext({
        viewport: { width: 1280, height: 900 },
        timezoneId: "UTC",
        locale: "en-US",
        ...options,
      });
      if (first !== undefined) await context.addInitScript(first);
      const page = await context.newPage();
      const complaints: string[] = [];
      const { origin } = new URL(url);
      page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type()))
          complaints.push(`${message.type()}: ${message.text()}`);
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(`${origin}/`)) complaints.push(`request: ${request.url()}`);
        if (!["GET", "HEAD"].includes(request.method()))
          complaints.push(`method: ${request.method()} ${request.url()}`);
      });
      await page.goto(url);
      return { page, complaints };
    },
    close: () => browser.close(),
  };
}

type Found = {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
};

/** What breaks WCAG 2.2 AA, as far as a program can tell. https://github.com/dequelabs/axe-core */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate<Found>(
    `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })`,
  );
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary ?? ""}`),
  );
}

/** Where pictures of the page are left to be looked at: a folder that VARVE_SCREENSHOTS names, or a new one. */
export const SCREENSHOTS = process.env["VARVE_SCREENSHOTS"] ?? mkdtempSync(join(tmpdir(), "varve-console-"));
