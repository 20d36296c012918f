/** The packed package in an empty project: plain JavaScript, TypeScript, and the command. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { layDown, object } from "../../bench/laid.ts";
import { openDirectoryStore } from "../../shared/directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const T0 = Date.UTC(2026, 10, 20, 12);
const run = promisify(execFile);

const SCRIPT = `
import { openChangelog, VarveError } from "varve/reader";
const changelog = await openChangelog(process.argv[2]);
const { rows, next, counts } = await changelog.changesSince("2026-11-20");
for await (const row of rows) console.log(row.op, row.collection, row.id);
console.log(next.kind, next.ms, counts.read.files);
for await (const batch of changelog.follow({ since: "0", wait: false, consumer: "other-project" })) {
  console.log(batch.kind, batch.version);
  for await (const { id } of batch.rows) console.log(id);
}
console.log((await changelog.get({ source: "shop", collection: "users", id: "u1" }))?.image);
console.log((await changelog.files()).length, (await changelog.snapshot()).version);
await changelog.changesSince("2099-01-01").catch((error) => console.log(error instanceof VarveError, error.code));
changelog.close();
`;

/** The console's page is no code that is compiled, and comes along all the same. */
const CONSOLE = `
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
const home = dirname(createRequire(import.meta.url).resolve("varve/package.json"));
const { readAssets } = await import(join(home, "dist/console/assets.js"));
console.log([...readAssets().keys()].filter((path) => ["/index.html", "/app.js", "/uplot.js"].includes(path)).toSorted().join(" "));
`;

const TYPED = `
import { openChangelog, type ChangeRow, type SinceLike } from "varve/reader";
const changelog = await openChangelog("s3://bucket/prefix/region/table", { s3: { region: "auto" } });
let since: SinceLike = "2h";
for (;;) {
  const { rows, next } = await changelog.changesSince(since, { columns: ["id", "image"] });
  for await (const row of rows) {
    const op: "insert" | "update" | "delete" = row.op;
    console.log(op, row.image?.length);
    // @ts-expect-error: no such column
    console.log(row.picture);
  }
  since = next;
  if (next.kind === "version") break;
}
const row: ChangeRow | null = await changelog.get("o#shop#users#u1", { signal: AbortSignal.timeout(1000) });
console.log(row?.changedMs.toFixed());
`;

const TSCONFIG = {
  compilerOptions: {
    target: "es2024",
    module: "nodenext",
    lib: ["es2024", "dom"],
    types: [],
    strict: true,
    noEmit: true,
  },
  files: ["typed.mts"],
};

test("another project installs it, and reads a changelog", async () => {
  const home = await mkdtemp(join(tmpdir(), "varve-package-"));
  const laid = await layDown(openDirectoryStore(join(home, "changelog")), T0);
  try {
    await laid.commit([object("users", "u1", T0 + 1000), object("users", "u2", T0 + 2000)], T0 + 3000);
    const packed = await run("npm", ["pack", "--pack-destination", home, "--json"], { cwd: ROOT });
    const [packedAs] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf("["))) as {
      filename: string;
    }[];
    await writeFile(
      join(home, "package.json"),
      JSON.stringify({ name: "empty", private: true, type: "module" }),
    );
    await writeFile(join(home, "read.js"), SCRIPT);
    await writeFile(join(home, "console.js"), CONSOLE);
    await writeFile(join(home, "typed.mts"), TYPED);
    await writeFile(join(home, "tsconfig.json"), JSON.stringify(TSCONFIG));
    await run(
      "npm",
      ["install", "--prefer-offline", "--no-audit", "--no-fund", join(home, packedAs?.filename ?? "")],
      {
        cwd: home,
      },
    );

    const address = pathToFileURL(join(home, "changelog")).href;
    const { stdout } = await run(process.execPath, ["read.js", address], { cwd: home });
    expect(stdout.trim().split("\n")).toEqual([
      "insert users u1",
      "insert users u2",
      `time ${T0 + 3000} 1`,
      "commit 1",
      "u1",
      "u2",
      `{"id":"u1","n":${T0 + 1000}}`,
      "1 1",
      "true in_future",
    ]);

    const served = await run(process.execPath, ["console.js"], { cwd: home });
    expect(served.stdout.trim()).toBe("/app.js /index.html /uplot.js");

    await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", "."], { cwd: home });

    const bin = join(home, "node_modules/.bin/varve");
    const env = { PATH: process.env["PATH"], VARVE_CHANGELOG: address };
    const command = await run(process.execPath, [bin, "changes", "--since", "0", "--json"], {
      cwd: home,
      env,
    });
    expect(command.stdout.trim().split("\n")).toHaveLength(2);
    for (const words of [["local"], ["sources", "list"]]) {
      await expect(run(process.execPath, [bin, ...words], { cwd: home, env })).rejects.toMatchObject({
        stderr: expect.stringContaining("Clone Varve's repository"),
      });
    }
  } finally {
    await laid.close();
    await rm(home, { recursive: true, force: true });
  }
}, 240_000);
