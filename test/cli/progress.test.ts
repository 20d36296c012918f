import { expect, test } from "vitest";
import { openProgress, progressText } from "../../cli/progress.ts";

test.each([
  ["half way", 1200, 2400, 61.2, "files  [############------------]  50%  1,200 of 2,400, 61/s, 0:20 left"],
  ["slow", 1, 3, 0.5, "files  [########----------------]  33%  1 of 3, 0.5/s, 0:04 left"],
  ["hours", 0, 7300, 1, "files  [------------------------]   0%  0 of 7,300, 1/s, 2:01:40 left"],
  ["done", 3, 3, 1, "files  [########################] 100%  3 of 3, 1/s"],
  ["no pace yet", 1, 2, 0, "files  [############------------]  50%  1 of 2"],
  ["no total", 1234, null, 100, "files  1,234, 100/s"],
  ["more than was thought", 12, 10, 5, "files  12, 5/s"],
])("%s", (_, done, total, aSecond, text) => {
  expect(progressText("files", done, total, aSecond)).toBe(text);
});

test("the pace is that of the step", () => {
  let nowMs = 0;
  const shown: string[] = [];
  const output = { line: async () => {}, note: () => {}, progress: (text: string) => void shown.push(text) };
  const progress = openProgress(output, { nowMs: () => nowMs });
  progress("log", 0, 10);
  nowMs = 5000;
  progress("log", 10, 10);
  progress("files", 100, 200);
  nowMs = 6000;
  progress("files", 150, 200);
  expect(shown.map((text) => /, (\S+)\/s/.exec(text)?.[1])).toEqual([undefined, "2", undefined, "50"]);
});
