/** The `varve` command as a process, run to its end. */
import { execFile } from "node:child_process";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");

export type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** @param env all of its environment; this process's unless told */
export function runVarve(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
  encoding: BufferEncoding = "utf8",
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env, encoding }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
