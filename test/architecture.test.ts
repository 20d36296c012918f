/** The repository checks itself: who may import whom, what may not be named, what must be pinned. */
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const PARTS = ["shared", "edge", "compactor", "reader", "console", "cli", "local", "bench", "test"] as const;

const filesOf = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.split(sep).join("/")}`)
    .filter((path) => path.endsWith(".ts") && !path.includes("/node_modules/"));

const FILES = PARTS.flatMap(filesOf);

type Import = { readonly from: string; readonly what: string };

/** Imports and exports from, dynamic ones too; not those of types inside comments. */
const IMPORT = /(?:^|\n)\s*(?:import|export)\b[^;'"]*?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "");
  return [...text.matchAll(IMPORT)].map((match) => {
    const what = match[1] ?? match[2] ?? "";
    return { from: file, what: what.startsWith(".") ? resolved(file, what) : what };
  });
}

const resolved = (file: string, what: string): string =>
  relative(ROOT, join(ROOT, dirname(file), what))
    .split(sep)
    .join("/");

const IMPORTS = FILES.flatMap(importsOf);
const partOf = (path: string): string => path.split("/")[0] ?? "";
const isPart = (what: string): boolean => (PARTS as readonly string[]).includes(partOf(what));
const isOurs = (what: string): boolean => isPart(what) && what.includes("/") && what.endsWith(".ts");
const shown = ({ from, what }: Import): string => `${from} imports ${what}`;

test("the imports are seen", () => {
  expect(IMPORTS.filter(({ what }) => isOurs(what)).length).toBeGreaterThan(200);
  expect(importsOf("shared/log.ts").map(({ what }) => what)).toContain("shared/snapshot.ts");
});

/** The compactor's entry point serves the console beside its work; nothing else of the compactor knows of it. */
const EXCEPTIONS = new Set(["compactor/main.ts imports console/console.ts"]);

test("the console's page is of its own files alone, and each of them is served", () => {
  const page = readdirSync(join(ROOT, "console/page")).filter((name) => name.endsWith(".js"));
  const served = readFileSync(join(ROOT, "console/assets.ts"), "utf8");
  expect(page.length).toBeGreaterThan(5);
  for (const name of page) {
    expect(served).toContain(`"${name}"`);
    const imports = readFileSync(join(ROOT, "console/page", name), "utf8").matchAll(
      /^import [^"]*"([^"]+)";$/gm,
    );
    for (const [, from = ""] of imports) expect(page.map((one) => `./${one}`)).toContain(from);
  }
});

describe("imports point downwards", () => {
  test.each([
    ["shared", ["shared"]],
    ["edge", ["shared", "edge"]],
    ["compactor", ["shared", "compactor"]],
    ["reader", ["shared", "reader"]],
    ["console", ["shared", "reader", "console"]],
    ["cli", ["shared", "edge", "compactor", "reader", "console", "cli", "local", "bench"]],
    ["local", ["shared", "edge", "compactor", "reader", "console", "cli", "local", "bench"]],
    ["bench", ["shared", "edge", "compactor", "reader", "console", "cli", "local", "bench"]],
  ])("%s imports only %j of ours", (part, allowed) => {
    const ours = IMPORTS.filter(({ from, what }) => partOf(from) === part && isOurs(what));
    const wrong = ours.filter(({ what }) => !allowed.includes(partOf(what))).map(shown);
    expect(wrong.filter((one) => !EXCEPTIONS.has(one))).toEqual([]);
  });

  test("every import of ours is of a file that is there", () => {
    const there = new Set(FILES);
    const ours = IMPORTS.filter(({ what }) => isOurs(what));
    expect(ours.filter(({ what }) => !there.has(what)).map(shown)).toEqual([]);
  });
});

test("the edge, and all of shared that it reaches, runs anywhere: no import of node:", () => {
  const reached = new Set(FILES.filter((file) => partOf(file) === "edge"));
  for (const file of reached) {
    for (const { from, what } of IMPORTS) if (from === file && isOurs(what)) reached.add(what);
  }
  expect([...reached].some((file) => partOf(file) === "shared")).toBe(true);
  const wrong = IMPORTS.filter(({ from, what }) => reached.has(from) && what.startsWith("node:"));
  expect(wrong.map(shown)).toEqual([]);
});

test("every client of the SDK that runs for real gives up a call that is not answered", () => {
  const opening = /new (?:DynamoDB|DynamoDBStreams|S3)Client\(/;
  const texts = FILES.filter((file) => ["shared", "compactor", "reader", "cli"].includes(partOf(file))).map(
    (file) => ({ file, text: readFileSync(join(ROOT, file), "utf8") }),
  );
  const opened = texts.filter(({ text }) => opening.test(text));
  expect(opened.length).toBeGreaterThan(2);
  const without = opened.filter(({ text }) => !text.includes("requestHandlerLimits("));
  expect(without.map(({ file }) => file)).toEqual([]);
});

test("no file is named for nothing in particular", () => {
  const banned = /(?:^|[/_.-])(?:utils?|helpers?|common|misc)(?:[/_.-]|$)/i;
  expect(FILES.filter((file) => banned.test(file))).toEqual([]);
});

describe("what is installed is said exactly", () => {
  type Package = Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
  const KINDS = ["dependencies", "devDependencies", "optionalDependencies"];
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Package;

  test("package.json pins every version", () => {
    const versions = KINDS.flatMap((kind) => Object.entries(manifest[kind] ?? {}));
    expect(versions.length).toBeGreaterThan(10);
    const exact = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/;
    expect(versions.filter(([, version]) => !exact.test(version))).toEqual([]);
  });

  test.each(["package-lock.json", "test/engines/package-lock.json"])("%s names no registry", (path) => {
    const lock = readFileSync(join(ROOT, path), "utf8");
    expect(lock).not.toMatch(/"resolved"/);
    // Addresses of homepages and funding are no matter.
    expect(lock).not.toMatch(/https?:\/\/[^"]*(?:registry|npmjs|artifact|nexus|\.tgz)/);
  });
});
