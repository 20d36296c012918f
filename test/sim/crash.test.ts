import { describe, expect, test, vi } from "vitest";
import { quietPlan, simulate } from "./world.ts";

vi.mock("../../shared/checkpoint.ts", async (original) => {
  const { jsonCheckpoints } = await import("../fakes/checkpoint.ts");
  return jsonCheckpoints(await original());
});

const CALLS_MIN = 40;
const TIMEOUT_MS = 300_000;

describe("a compactor that dies at any of its calls to the outside loses nothing and repeats nothing", () => {
  test.each([
    ["before it is made", "before"],
    ["after it was done", "after"],
  ] as const)(
    "%s",
    async (_, when) => {
      const { calls, problems } = await simulate(quietPlan({}));
      expect(problems).toEqual([]);
      expect(calls).toBeGreaterThan(CALLS_MIN);
      const failed: Record<number, readonly string[]> = {};
      for (let call = 1; call <= calls; call += 1) {
        const run = await simulate(quietPlan({ crashAt: { call, when } }));
        const found = run.crashes === 1 ? run.problems : ["it did not crash", ...run.problems];
        if (found.length > 0) failed[call] = found;
      }
      expect(failed, "crashes at these calls").toEqual({});
    },
    TIMEOUT_MS,
  );
});
