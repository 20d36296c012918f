/** Where a command writes: results to stdout, everything else to stderr. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import type { Writable } from "node:stream";
import { styleText } from "node:util";

export type Output = {
  /** One line of the result. Waits while the reader of the pipe is slow. */
  readonly line: (text: string) => Promise<void>;
  /** One line about the result. */
  readonly note: (text: string) => void;
  /** A line that replaces the one before it; only on a terminal. Empty: none. */
  readonly progress: (text: string) => void;
};

export type FileOutput = Output & {
  /** A whole file as the result. */
  readonly file: (path: string) => Promise<void>;
};

type Stdout = Writable & { readonly isTTY?: boolean };
type Stderr = Writable & { readonly isTTY?: boolean; readonly columns?: number };

const PROGRESS_EVERY_MS = 100;

export function openOutput(stdout: Stdout, stderr: Stderr): FileOutput {
  let shownMs = 0;
  const clear = () => {
    if (shownMs !== 0) stderr.write("\r\x1b[2K");
    shownMs = 0;
  };
  stdout.on("error", (error: Error & { readonly code?: string }) => {
    // Whoever read the pipe has had enough, as `head` does.
    if (error.code === "EPIPE") process.exit(0);
    stderr.write(`varve: the result cannot be written: ${error.message}\n`);
    process.exit(1);
  });
  const write = async (bytes: string | Uint8Array): Promise<void> => {
    if (!stdout.write(bytes)) await once(stdout, "drain");
  };
  return {
    line: (text) => {
      if (stdout.isTTY === true) clear();
      return write(`${text}\n`);
    },
    file: async (path) => {
      for await (const piece of createReadStream(path)) await write(piece as Uint8Array);
    },
    note: (text) => {
      clear();
      stderr.write(`${text}\n`);
    },
    progress: (text) => {
      if (stderr.isTTY !== true) return;
      if (text === "") return clear();
      const nowMs = Date.now();
      if (nowMs - shownMs < PROGRESS_EVERY_MS) return;
      clear();
      // A line that wraps could not be taken back.
      stderr.write(text.slice(0, (stderr.columns || 80) - 1));
      shownMs = nowMs;
    },
  };
}

export type Style = "red" | "green" | "yellow";

/** Text in a colour, where stdout is a terminal that has some and NO_COLOR is not set. */
export const painted = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });
