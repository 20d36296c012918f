/** Where sources are kept: Workers KV, through wrangler in production, or this machine's own. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { VarveError } from "../shared/errors.ts";

export type SourceEntry = { readonly key: string; readonly value: string };

export type SourceStore = {
  readonly get: (key: string) => Promise<string | null>;
  readonly put: (entries: readonly SourceEntry[]) => Promise<void>;
  readonly remove: (keys: readonly string[]) => Promise<void>;
  /** The keys that begin with `prefix`, sorted. */
  readonly list: (prefix: string) => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
};

const PROJECT = join(import.meta.dirname, "..");
const WRANGLER = join(PROJECT, "node_modules/wrangler/bin/wrangler.js");
const run = promisify(execFile);
/** A list of some hundred thousand keys. */
const OUTPUT_BYTES_MAX = 64 * 1024 ** 2;
const TIMEOUT_MS = 120_000;

/** What wrangler calls an error, or else the last that it said, or else why there is no answer. */
function reasonOf(error: unknown): string {
  const { stderr = "", killed = false } = error as { readonly stderr?: string; readonly killed?: boolean };
  if (killed) return `no answer within ${TIMEOUT_MS / 1000} s`;
  const said = stderr.trim().split("\n").at(-1)?.trim() ?? "";
  const named = /ERROR[^\n]*?\s{1}(.+)/.exec(stderr)?.[1];
  return named ?? (said !== "" ? said : error instanceof Error ? error.message : String(error));
}

/** Wrangler asks Cloudflare, or with `persistTo` a folder of this machine. */
export type WranglerPlace =
  | { readonly kind: "remote"; readonly environment: string }
  | { readonly kind: "folder"; readonly persistTo: string };

export function openWranglerStore(place: WranglerPlace): SourceStore {
  const where =
    place.kind === "remote"
      ? ["--remote", "--env", place.environment]
      : ["--local", "--persist-to", place.persistTo, "--env", ""];

  async function wrangler(...args: readonly string[]): Promise<string> {
    try {
      const options = {
        cwd: PROJECT,
        env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
        maxBuffer: OUTPUT_BYTES_MAX,
        timeout: TIMEOUT_MS,
      };
      const words = [WRANGLER, "kv", ...args, "--binding", "SOURCES", ...where];
      const { stdout } = await run(process.execPath, words, options);
      return stdout;
    } catch (error) {
      throw new VarveError(
        "wrangler_failed",
        `wrangler could not reach the sources: ${reasonOf(error)}`,
        "`npx wrangler login`, and check the KV namespace's id in wrangler.toml.",
        error,
      );
    }
  }

  /** By a file that only its owner can read: a process's arguments are everybody's on its machine, and have a limit. */
  async function bulk(verb: "put" | "delete", content: object, ...flags: readonly string[]): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "varve-sources-"));
    try {
      const file = join(folder, `${verb}.json`);
      await writeFile(file, JSON.stringify(content), { mode: 0o600 });
      await wrangler("bulk", verb, file, ...flags);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async function list(prefix: string): Promise<readonly string[]> {
    const names = JSON.parse(await wrangler("key", "list", "--prefix", prefix)) as readonly {
      readonly name: string;
    }[];
    return names.map(({ name }) => name).toSorted();
  }
  return {
    list,
    // `get` of a key that is absent answers in words, not by its exit code.
    get: async (key) => {
      const present = await list(key);
      return present.includes(key) ? (await wrangler("key", "get", key, "--text")).replace(/\n$/, "") : null;
    },
    put: (entries) => bulk("put", entries),
    remove: (keys) => bulk("delete", keys, "--force"),
    close: async () => undefined,
  };
}

/** The KV that `varve local` keeps under its data folder, whether it runs or not. */
export async function openLocalStore(dataDir: string): Promise<SourceStore> {
  const { Miniflare } = await import("miniflare");
  const miniflare = new Miniflare({
    resourcePersistencePath: join(dataDir, "kv"),
    workers: [
      {
        config: {
          name: "sources",
          compatibilityDate: "2026-10-01",
          manifest: {
            mainModule: "worker.mjs",
            modulesRoot: PROJECT,
            modules: { "worker.mjs": { type: "esm", contents: "export default {}" } },
          },
          env: { SOURCES: { type: "kv", id: "SOURCES" } },
        },
      },
    ],
  });
  const kv = await miniflare.getKVNamespace("SOURCES");
  return {
    get: (key) => kv.get(key, "text"),
    put: async (entries) => {
      for (const { key, value } of entries) await kv.put(key, value);
    },
    remove: async (keys) => {
      for (const key of keys) await kv.delete(key);
    },
    list: async (prefix) => (await kv.list({ prefix })).keys.map(({ name }) => name).toSorted(),
    close: () => miniflare.dispose(),
  };
}
