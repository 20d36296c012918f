/** A line that comes again and again is shown once, and then counted: at most one line a second of it. */
export type Repeats = {
  /** The lines to show now that `text` has come. */
  readonly lines: (text: string, nowMs: number) => readonly string[];
};

const QUIET_MS = 1_000;

export function openRepeats(): Repeats {
  let last = "";
  let shownMs = Number.NEGATIVE_INFINITY;
  let withheld = 0;
  return {
    lines: (text, nowMs) => {
      if (text === last && nowMs - shownMs < QUIET_MS) {
        withheld++;
        return [];
      }
      const before = withheld === 0 ? [] : [`${last} (${withheld} more)`];
      const isNew = text !== last;
      last = text;
      shownMs = nowMs;
      withheld = 0;
      return isNew || before.length === 0 ? [...before, text] : before;
    },
  };
}
