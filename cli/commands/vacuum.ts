import type { Command } from "../command.ts";
import { Misuse, TARGET_OPTIONS } from "../command.ts";

const DAY_MS = 86_400_000;
/** A commit may still be on its way that names a file. */
const ORPHAN_AGE_LEAST_MS = 3_600_000;

export const vacuum: Command = {
  name: "vacuum",
  summary: "deletes data files that no commit names any more",
  options: {
    "dry-run": { type: "boolean", help: "only show them" },
    removed: { type: "string", value: "AGE", help: "merged away or expired for so long (2d)" },
    orphans: {
      type: "string",
      value: "AGE",
      help: "never committed, and written so long ago (7d, at least 1h)",
    },
    ...TARGET_OPTIONS,
  },
  examples: ["varve vacuum --dry-run", "varve vacuum --removed 12h"],
  run: async ({ options, environment, output }) => {
    const removedMs = options.duration("removed") ?? 2 * DAY_MS;
    const orphanMs = options.duration("orphans") ?? 7 * DAY_MS;
    if (orphanMs < ORPHAN_AGE_LEAST_MS)
      throw new Misuse("--orphans must be at least 1h: a commit may be on its way");
    const { openTarget } = await import("../target.ts");
    const { vacuumCommand } = await import("../vacuum.ts");
    const { store } = openTarget(environment, options);
    const args = { dryRun: options.flag("dry-run"), json: options.flag("json"), removedMs, orphanMs };
    await vacuumCommand(store, args, output, Date.now());
    return 0;
  },
};
