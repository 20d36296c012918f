/** The README's examples, pasted into a shell as they stand, but for the port and the folder. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { makeDataDir, settle, startSystem } from "./system.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

function examples(heading: string): string[] {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const [, section = ""] = readme.split(`\n## ${heading}\n`);
  const blocks = (section.split("\n## ")[0] ?? "").matchAll(/```sh\n(.*?)```/gs);
  return [...blocks].map(([, code = ""]) => code);
}

test("the curl, the analytics-node snippet, the queries and DuckDB work when pasted", async () => {
  const [curl, sdk, queries] = examples("Try it");
  const [alias] = examples("Commands");
  // The last line follows a changelog that is served on the web: test/reader/examples.test.ts does that.
  const [duckdb, follow] = (examples("Without our code")[0] ?? "").split(/\n\n/);
  expect(queries).toBeDefined();
  expect(follow).toMatch(/^node examples\/follow\.mjs \S+ .*\n$/);
  const data = makeDataDir();
  const system = await startSystem(data.dir);
  try {
    const paste = async (code: string): Promise<string> => {
      const here = code
        .replaceAll("http://127.0.0.1:8787", system.running.endpoint)
        .replaceAll(".varve/", `${data.dir}/`)
        .replaceAll("files.json", `${data.dir}/files.json`)
        .replaceAll(/^(npm run varve --|varve) (\S+)/gm, `$1 $2 --data ${data.dir}`);
      const { stdout } = await run("bash", ["-euc", here], { cwd: ROOT });
      return stdout;
    };
    const key = /^export .*$/m.exec(curl ?? "")?.[0] ?? "";
    expect(await paste(curl ?? "")).toContain('"success":true');
    await paste(`${key}\n${sdk}`);
    await settle(data.dir);
    const answer = await paste(queries ?? "");
    for (const text of ["Signed Up", "Order Completed", '"name":"Ada"', "nothing lost, nothing twice"]) {
      expect(answer).toContain(text);
    }
    const told = await paste(`shopt -s expand_aliases\n${alias}\n${duckdb}`);
    expect(told).toMatch(/"op":"insert","collection":"tracks"/);
    expect(told).toContain('{"source":"local","collection":"users","objects":"1"}');
  } finally {
    await system.stop();
    data.remove();
  }
}, 120_000);
