/** The documentation: that its links lead somewhere, and that what it names is there. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { COMMANDS } from "../../cli/commands.ts";
import { ROOT } from "./imports.ts";
import { readTemplate } from "./template.ts";

const run = promisify(execFile);
const PAGES = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "PROTOCOL.md",
  ...readdirSync(join(ROOT, "docs")).map((name) => `docs/${name}`),
].filter((name) => name.endsWith(".md"));
const read = (page: string): string => readFileSync(join(ROOT, page), "utf8");

/** As GitHub makes them. */
const anchorsOf = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, "")
      .trim()
      .replaceAll(/\s/g, "-"),
  );

test.each(PAGES)("%s: its links lead somewhere", (page) => {
  for (const [, link = ""] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(link)) continue;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? page : join(dirname(page), path);
    expect(existsSync(join(ROOT, target)), `${page} links ${link}`).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(target), `${page} links ${link}`).toContain(anchor);
  }
});

test("the index names every page", () => {
  const index = read("docs/README.md");
  for (const name of readdirSync(join(ROOT, "docs")))
    if (name.endsWith(".md") && name !== "README.md") expect(index).toContain(`(${name})`);
});

test("the Node that the pages say the package needs is the one it asks for", () => {
  const { engines } = JSON.parse(read("package.json")) as { engines: { node: string } };
  for (const page of ["README.md", "docs/reading.md"])
    expect(/(\S+) or later/.exec(read(page).split("npm pack`")[1] ?? "")?.[1]).toBe(engines.node.slice(2));
});

test("what goes to the worker names its environment: the top level of wrangler.toml is this machine's", () => {
  const texts = [...PAGES, "wrangler.toml"].map((page) => [page, read(page)] as const);
  for (const [page, text] of texts)
    for (const [call] of text.matchAll(/wrangler (?:deploy|rollback|tail|secret)\b[^`\n]*/g))
      if (!call.includes("--dry-run")) expect(call, page).toContain("--env production");
});

test("the files that the pages name are there", () => {
  for (const page of PAGES)
    for (const [path] of read(page).matchAll(/\b(?:deploy|cli|docs|edge)\/[\w/.-]+\.(?:ts|ya?ml|json|md)\b/g))
      expect(existsSync(join(ROOT, path)), `${page} names ${path}`).toBe(true);
});

test("the variables that the pages and deploy/ name are ones that are read", () => {
  const config = read("shared/config.ts");
  const deployed = readdirSync(join(ROOT, "deploy"), { recursive: true, encoding: "utf8" })
    .map((name) => `deploy/${name}`)
    .filter((name) => /\.(?:ya?ml|ts|json)$|Dockerfile$/.test(name));
  for (const page of [...PAGES, ...deployed])
    for (const [name] of read(page).matchAll(/\bVARVE_[A-Z_]+\b/g))
      expect(config, `${page} names ${name}`).toContain(`${name}: `);
});

test("no page has the reader run TypeScript by a node of his own, which may be too old for it", () => {
  for (const page of PAGES) expect(read(page), page).not.toMatch(/(?:^|[^/x] |`)node [\w/.-]+\.ts\b/m);
});

const shell = (page: string): string[] =>
  [...read(page).matchAll(/```sh\n([^]*?)```/g)].map(([, code = ""]) => code.replaceAll("\\\n", " "));

test("the stacks are given parameters that they have", () => {
  for (const page of ["docs/deploy.md", "docs/second-region.md"])
    for (const code of shell(page))
      for (const [, file = "", given = ""] of code.matchAll(
        /--template-file deploy\/aws\/(\S+).*?--parameter-overrides ([^\n]+)/g,
      )) {
        const names = Object.keys(readTemplate(file).Parameters);
        for (const [name] of given.matchAll(/\w+(?==)/g)) expect(names).toContain(name);
      }
});

test("every command and option in the pages is one that there is", () => {
  for (const page of PAGES)
    for (const [, line = ""] of read(page).matchAll(/\bvarve (?:-- )?([a-z]+(?: [^\n`|#;]*)?)/g)) {
      const [name = "", ...words] = line.replace(/^-- /, "").split(/\s+/);
      const command = COMMANDS.find((one) => one.name === name);
      const options = words
        .filter((word) => /^--[a-z]/.test(word))
        .map((word) => word.slice(2).replace(/\W+$/, ""));
      if (options.length === 0 && command === undefined) continue;
      expect(command?.name, `${page}: varve ${line}`).toBe(name);
      for (const option of options)
        expect(["help", ...Object.keys(command?.options ?? {})], `${page}: varve ${line}`).toContain(option);
    }
});

test("cost's examples run", async () => {
  const [code = ""] = shell("docs/cost.md");
  const [, line = ""] = /varve -- cost (.*--plot \S+)/.exec(code) ?? [];
  const plot = join(mkdtempSync(join(tmpdir(), "varve-docs-")), "cost.svg");
  const words = line.replace("cost.svg", plot).split(" ");
  const { stdout } = await run(process.execPath, [join(ROOT, "cli/main.ts"), "cost", ...words]);
  for (const name of ["GSI", "Bigtable", "Firehose", "incremental exports", "Varve on S3", "Varve on R2"])
    expect(stdout).toContain(name);
  expect(readFileSync(plot, "utf8"), "docs/cost.svg is not what the example draws").toBe(
    read("docs/cost.svg"),
  );
  rmSync(dirname(plot), { recursive: true });
});

test("the queues and bindings that the pages make are those of wrangler.toml", () => {
  const wrangler = read("wrangler.toml");
  const code = shell("docs/deploy.md").join("\n");
  const queues = [...code.matchAll(/queues create (\S+)/g)].map(([, name = ""]) => name);
  expect(queues).toHaveLength(2);
  for (const name of queues) expect(wrangler).toContain(`"${name}"`);
  expect(code).toContain("kv namespace create SOURCES");
  expect(wrangler).toContain('binding = "SOURCES"');
  for (const [, environment = ""] of code.matchAll(/--env (\w+)/g))
    expect(wrangler).toContain(`[env.${environment}]`);
});

test("the policy in the second region's page is the edge's own", () => {
  const [policy = ""] = /\{\n\s+"Version"[^]*?\n\s+\}(?=')/.exec(read("docs/second-region.md")) ?? [];
  const { Statement: statements } = parse(policy) as { Statement: { Action: string[] }[] };
  expect(statements[0]?.Action).toEqual(["dynamodb:BatchWriteItem", "dynamodb:UpdateItem"]);
});
