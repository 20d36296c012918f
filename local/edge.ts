import "./orphan.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { stop } from "esbuild";
import { planChanges } from "../cli/sources.ts";
import { SOURCE_RECORD, sourceRecordKvKey } from "../edge/sources.ts";
import type { SourceRecord } from "../edge/sources.ts";
import { VarveError } from "../shared/errors.ts";
import { quiet, runMiniflare } from "./child.ts";
import { EdgeSettings, settingsOf } from "./settings.ts";
import { bundleWorker } from "./worker-bundle.ts";
import type { WorkerModule } from "./worker-bundle.ts";

const PROJECT = join(import.meta.dirname, "..");

async function bundle(worker: string): Promise<readonly WorkerModule[]> {
  const modules = await bundleWorker(worker).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message.split("\n").slice(0, 3).join(" ") : String(error);
    throw new VarveError(
      "worker_bundle_failed",
      `The edge worker could not be bundled: ${reason}`,
      "Correct edge/worker.ts and start again.",
      error,
    );
  });
  await stop();
  return modules;
}

/** The date and flags the deployed worker has, so that both run the same runtime. */
async function compatibility(): Promise<{ readonly date: string; readonly flags: string[] }> {
  const toml = await readFile(join(PROJECT, "wrangler.toml"), "utf8").catch(() => "");
  const date = /^compatibility_date\s*=\s*"([\d-]+)"/m.exec(toml)?.[1] ?? "2026-10-01";
  const list = /^compatibility_flags\s*=\s*\[([^\]]*)\]/m.exec(toml)?.[1] ?? "";
  return { date, flags: [...list.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "") };
}

const LOCAL_SOURCE = "local";

/** The source that is there from the start; whatever else is made of it, it has the key that this run prints. */
function localSource(before: SourceRecord | null, writeKey: string): SourceRecord {
  const record = before ?? SOURCE_RECORD.parse({ id: LOCAL_SOURCE, name: "Local" });
  const others = record.writeKeys.filter((key) => key !== writeKey);
  return { ...record, writeKeys: [writeKey, ...others] };
}

const settings = settingsOf(EdgeSettings);
await runMiniflare(
  async () => {
    const { date, flags } = await compatibility();
    const modules = await bundle(settings.worker);
    return {
      ...quiet,
      port: settings.port,
      resourcePersistencePath: settings.dir,
      workers: [
        {
          config: {
            name: "edge",
            compatibilityDate: date,
            compatibilityFlags: flags,
            manifest: {
              mainModule: modules[0]?.name ?? "",
              modulesRoot: PROJECT,
              modules: Object.fromEntries(
                modules.map(({ name, kind, contents }) => [name, { type: kind, contents }]),
              ),
            },
            env: {
              SOURCES: { type: "kv", id: "SOURCES" },
              // No SPILL: Miniflare's queue is in memory, and what was answered 200 would die with the process.
              ...Object.fromEntries(
                Object.entries(settings.vars).map(([name, value]) => [
                  name,
                  { type: "text" as const, value },
                ]),
              ),
            },
          },
        },
      ],
    };
  },
  async (miniflare) => {
    const sources = await miniflare.getKVNamespace("SOURCES");
    const stored = await sources.get(sourceRecordKvKey(LOCAL_SOURCE), "text");
    const before = stored === null ? null : SOURCE_RECORD.parse(JSON.parse(stored));
    for (const change of planChanges(before, localSource(before, settings.writeKey))) {
      for (const { key, value } of change.kind === "put" ? change.entries : []) await sources.put(key, value);
    }
  },
);
