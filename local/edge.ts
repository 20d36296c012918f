import "./orphan.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build, stop } from "esbuild";
import { VarveError } from "../shared/errors.ts";
import { quiet, runMiniflare } from "./child.ts";
import { EdgeSettings, settingsOf } from "./settings.ts";

const PROJECT = join(import.meta.dirname, "..");

async function bundle(worker: string): Promise<string> {
  const built = await build({
    entryPoints: [worker],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "silent",
  }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message.split("\n").slice(0, 3).join(" ") : String(error);
    throw new VarveError(
      "worker_bundle_failed",
      `The edge worker could not be bundled: ${reason}`,
      "Mend edge/worker.ts and start again.",
      error,
    );
  });
  await stop();
  const [output] = built.outputFiles;
  if (output === undefined) throw new Error("esbuild wrote no file");
  return output.text;
}

/** The date and flags the deployed worker has, so that both run the same runtime. */
async function compatibility(): Promise<{ readonly date: string; readonly flags: string[] }> {
  const toml = await readFile(join(PROJECT, "wrangler.toml"), "utf8").catch(() => "");
  const date = /^compatibility_date\s*=\s*"([\d-]+)"/m.exec(toml)?.[1] ?? "2026-10-01";
  const list = /^compatibility_flags\s*=\s*\[([^\]]*)\]/m.exec(toml)?.[1] ?? "";
  return { date, flags: [...list.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "") };
}

const settings = settingsOf(EdgeSettings);
await runMiniflare(
  async () => {
    const { date, flags } = await compatibility();
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
              mainModule: "worker.mjs",
              modulesRoot: PROJECT,
              modules: { "worker.mjs": { type: "esm", contents: await bundle(settings.worker) } },
            },
            env: {
              SOURCES: { type: "kv", id: "SOURCES" },
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
    const name = `key:${settings.writeKey}`;
    if ((await sources.get(name)) === null) {
      await sources.put(name, JSON.stringify({ id: "local", name: "Local", enabled: true }));
    }
  },
);
