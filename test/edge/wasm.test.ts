import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const WASM = join(import.meta.dirname, "../../edge/wasm");
const COMPILER = join(
  dirname(createRequire(import.meta.url).resolve("assemblyscript/package.json")),
  "bin/asc.js",
);

test("event-copy.wasm is what event-copy.ts compiles to: else run `npm run wasm`", async () => {
  const folder = await mkdtemp(join(tmpdir(), "varve-wasm-"));
  const compiled = join(folder, "event-copy.wasm");
  const args = [join(WASM, "event-copy.ts"), "--config", join(WASM, "asconfig.json"), "--outFile", compiled];
  await promisify(execFile)(process.execPath, [COMPILER, ...args]);
  expect((await readFile(compiled)).equals(await readFile(join(WASM, "event-copy.wasm")))).toBe(true);
  await rm(folder, { recursive: true });
});
