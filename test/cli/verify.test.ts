import { expect, test } from "vitest";
import { verdict } from "../../cli/verify.ts";
import type { Problem } from "../../reader/verify.ts";

const ahead: Problem = { kind: "table_ahead", what: "2 keys differ", where: "" };
const lost: Problem = { kind: "table", what: "no row of it", where: "k" };

test.each<[string, readonly Problem[], number, RegExp]>([
  ["nothing wrong", [], 0, /^sound: nothing lost, nothing twice$/],
  ["gaps", [], 3, /^sound but for 3 gaps, where changes were lost: `varve files`/],
  ["a changelog that is behind", [ahead], 0, /^NOT KNOWN YET: .*`varve status`/],
  ["something lost", [lost], 0, /^NOT SOUND: 1 problem\. .*docs\/operations\.md, Restoring$/],
  ["something lost, and a changelog that is behind", [lost, ahead], 1, /^NOT SOUND: 2 problems/],
])("%s", (_, problems, gaps, text) => {
  expect(verdict({ problems, gaps })).toMatch(text);
});
