/**
 * What a person sees: results on stdout; notes, and one line that is redrawn in place, on
 * stderr. Where stderr is no terminal, the line is written anew every ten seconds.
 */
const COLUMNS = 80;
const PLAIN_MS = 10_000;

export type Screen = {
  readonly result: (text: string) => void;
  readonly note: (text: string) => void;
  readonly live: (text: string, nowMs: number) => void;
  /** Takes the live line away. */
  readonly clear: () => void;
};

export function openScreen(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Screen {
  // Whoever reads the output may leave; the system runs on.
  for (const stream of [stdout, stderr]) stream.on("error", () => {});
  const redraws = stderr.isTTY;
  let live = "";
  let plainMs = Number.NEGATIVE_INFINITY;

  const erase = (): void => {
    if (live !== "") stderr.write("\r\x1b[K");
  };
  const draw = (): void => {
    if (live !== "") stderr.write(live.slice(0, (stderr.columns || COLUMNS) - 1));
  };
  const above = (stream: NodeJS.WriteStream, text: string): void => {
    erase();
    stream.write(`${text}\n`);
    draw();
  };
  return {
    result: (text) => {
      above(stdout, text);
    },
    note: (text) => {
      above(stderr, text);
    },
    live: (text, nowMs) => {
      if (redraws) {
        erase();
        live = text;
        draw();
      } else if (nowMs - plainMs >= PLAIN_MS) {
        plainMs = nowMs;
        stderr.write(`${text}\n`);
      }
    },
    clear: () => {
      erase();
      live = "";
      plainMs = Number.NEGATIVE_INFINITY;
    },
  };
}
