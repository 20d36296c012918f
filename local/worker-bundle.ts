/** A worker's modules as the runtime takes them: its code in one, and its WebAssembly as it is. */
import { basename } from "node:path";
import { build } from "esbuild";

export type WorkerModule = {
  /** As the others import it. */
  readonly name: string;
  readonly kind: "esm" | "wasm";
  readonly contents: Uint8Array<ArrayBuffer>;
};

/** The first is the main one. */
export async function bundleWorker(entry: string): Promise<readonly [WorkerModule, ...WorkerModule[]]> {
  const { outputFiles } = await build({
    entryPoints: { worker: entry },
    outdir: "bundle",
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*", "cloudflare:*"],
    loader: { ".wasm": "copy" },
    logLevel: "silent",
  });
  const modules = outputFiles.map(({ path, contents }): WorkerModule => {
    const name = basename(path);
    return { name, kind: name.endsWith(".wasm") ? "wasm" : "esm", contents: Uint8Array.from(contents) };
  });
  const main = modules.find(({ kind }) => kind === "esm");
  if (main === undefined) throw new Error(`esbuild made nothing of ${entry}`);
  return [main, ...modules.filter((module) => module !== main)];
}
