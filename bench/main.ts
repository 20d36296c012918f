/**
 * `npm run bench [-- edge [--load | --ladder] | compactor | threads | shards | levels | growth | freshness | since | sync] [--json]`:
 * measures, and never fails on a timing.
 */
import { parseArgs } from "node:util";
import { describeError } from "../shared/errors.ts";
import type { BenchRow } from "./report.ts";
import { rowJson, table } from "./report.ts";

type Bench = (progress: (what: string) => void) => Promise<readonly BenchRow[]>;

const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  edge: async () => {
    if (load) return (await import("./edge-load.ts")).benchEdgeLoad;
    return ladder
      ? (await import("./edge-ladder.ts")).benchEdgeLadder
      : (await import("./edge.ts")).benchEdge;
  },
  compactor: async () => (await import("./compactor.ts")).benchCompactor,
  threads: async () => (await import("./threads.ts")).benchThreads,
  levels: async () => (await import("./levels.ts")).benchLevels,
  growth: async () => (await import("./growth.ts")).benchGrowth,
  shards: async () => (await import("./shards.ts")).benchShards,
  freshness: async () => (await import("./freshness.ts")).benchFreshness,
  since: async () => (await import("./since.ts")).benchSince,
  sync: async () => (await import("./sync.ts")).benchSync,
};

function misuse(what: string): never {
  console.error(`bench: ${what}\n  npm run bench [-- ${Object.keys(BENCHES).join(" | ")}] [--json]`);
  process.exit(2);
}

function argumentsOf(argv: string[]): {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly load: boolean;
  readonly ladder: boolean;
} {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: { json: { type: "boolean" }, load: { type: "boolean" }, ladder: { type: "boolean" } },
      allowPositionals: true,
    });
    const { json = false, load = false, ladder = false } = values;
    return { names: positionals, json, load, ladder };
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error));
  }
}

// What a bench started ends with this process, and only an orderly end tells it so.
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const { names, json, load, ladder } = argumentsOf(process.argv.slice(2));
for (const name of names) if (!(name in BENCHES)) misuse(`there is no bench ${JSON.stringify(name)}`);
try {
  const rows: BenchRow[] = [];
  for (const [name, open] of Object.entries(BENCHES)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const bench = await open();
    const measured = await bench((what) => console.error(`${name}: ${what}`));
    if (json) for (const row of measured) console.log(rowJson(row));
    rows.push(...measured);
  }
  if (!json) console.log(table(rows));
} catch (error) {
  console.error(`bench: it could not run: ${describeError(error)}`);
  process.exitCode = 1;
}
