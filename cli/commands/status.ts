import type { Command } from "../command.ts";
import { TARGET_OPTIONS } from "../command.ts";

export const status: Command = {
  name: "status",
  summary: "how the running system stands: lag, rate, files, shards, workers, gaps",
  options: TARGET_OPTIONS,
  examples: ["varve status", "varve status --json | jq .watermark_lag_seconds"],
  run: async ({ options, environment, output }) => {
    const { openTarget } = await import("../target.ts");
    const { store, root } = openTarget(environment, options);
    const { statusCommand } = await import("../status.ts");
    await statusCommand(store, root, options.flag("json"), output, Date.now());
    return 0;
  },
};
