import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const PROJECT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

test.each(["", "production"])(
  "wrangler bundles the environment %j",
  { timeout: 120_000 },
  async (environment) => {
    const folder = await mkdtemp(join(tmpdir(), "varve-bundle-"));
    try {
      const wrangler = join(PROJECT, "node_modules/wrangler/bin/wrangler.js");
      const words = [wrangler, "deploy", "--dry-run", "--env", environment, "--outdir", folder];
      const options = { cwd: PROJECT, env: { ...process.env, WRANGLER_SEND_METRICS: "false" } };
      const { stdout } = await run(process.execPath, words, options);
      const size = /Total Upload: .*/.exec(stdout)?.[0];
      expect(size).toBeDefined();
      console.log(`${environment === "" ? "local" : environment}: ${size}`);
      const code = await readFile(join(folder, "worker.js"), "utf8");
      expect(code).not.toMatch(/from\s+["']node:/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);

test("what is deployed without an environment does not take production's place", async () => {
  const toml = await readFile(join(PROJECT, "wrangler.toml"), "utf8");
  const names = Array.from(toml.matchAll(/^name = "([^"]+)"$/gm), ([, name]) => name);
  expect(names.slice(0, 2)).toEqual(["varve-edge-local", "varve-edge"]);
});

test("wrangler.toml holds no secret", async () => {
  const toml = await readFile(join(PROJECT, "wrangler.toml"), "utf8");
  expect(toml).not.toMatch(/^\s*(AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|HMAC_\w+)\s*=/m);
});
