/** Where a command writes: results to stdout, everything else to stderr. */
import { once } from "node:events";
import type { Writable } from "node:stream";

export type Output = {
  /** One line of the result. Waits while the reader of the pipe is slow. */
  readonly line: (text: string) => Promise<void>;
  /** One line about the result. */
  readonly note: (text: string) => void;
  /** A line that replaces the one before it; only on a terminal. */
  readonly progress: (text: string) => void;
};

export function openOutput(stdout: Writable, stderr: Writable & { readonly isTTY?: boolean }): Output {
  let shown = false;
  const clear = () => {
    if (shown) stderr.write("\r\x1b[2K");
    shown = false;
  };
  return {
    line: async (text) => {
      if (!stdout.write(`${text}\n`)) await once(stdout, "drain");
    },
    note: (text) => {
      clear();
      stderr.write(`${text}\n`);
    },
    progress: (text) => {
      if (stderr.isTTY !== true) return;
      clear();
      stderr.write(text);
      shown = true;
    },
  };
}
