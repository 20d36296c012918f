/** `varve console` as a person runs it, over a changelog in a directory. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { layDown, object } from "../../bench/laid.ts";
import type { State } from "../../console/state.ts";
import { openDirectoryStore } from "../../shared/directory.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const T0 = Date.UTC(2026, 10, 20, 12);
const dir = mkdtempSync(join(tmpdir(), "varve-console-"));
const address = pathToFileURL(dir).href;

beforeAll(async () => {
  const laid = await layDown(openDirectoryStore(dir), T0);
  await laid.commit([object("users", "u1", T0 + 1_000)], T0 + 2_000);
  await laid.close();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const start = (args: readonly string[], env: Record<string, string> = {}) =>
  spawn(process.execPath, [CLI, "console", ...args], {
    env: { PATH: process.env["PATH"], VARVE_CHANGELOG: address, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });

test("prints its address, shows the changelog there, and ends when told to", async () => {
  const child = start(["--port", "0"]);
  const [url] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  const state: State = JSON.parse(await (await fetch(`${url}api/state`)).text());
  expect(state).toMatchObject({ problem: null, log: { version: 1, rowsLive: 1 }, workers: null });
  child.kill("SIGTERM");
  expect((await once(child, "exit"))[0]).toBe(0);
});

test.each([
  [["--port", "99999"], {}, 2, "--port takes a port"],
  [[], { VARVE_CONSOLE: "0.0.0.0:0" }, 1, "Set VARVE_CONSOLE_TOKEN"],
  [[], { VARVE_CONSOLE: "here" }, 1, "neither a port nor host:port"],
  [[], { VARVE_CONSOLE_TOKEN: "short" }, 1, "shorter than 16 characters"],
])("%j with %j ends with %d and says what to do", async (args, env, code, words) => {
  const child = start(args, env);
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  expect((await once(child, "close"))[0]).toBe(code);
  expect(stderr).toContain(words);
  expect(stderr).not.toMatch(/^\s+at /m);
});
