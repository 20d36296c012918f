import type { Command } from "../command.ts";
import { TARGET_OPTIONS } from "../command.ts";

export const files: Command = {
  name: "files",
  summary: "the live data files, and the gaps",
  options: TARGET_OPTIONS,
  examples: ["varve files", "varve files --json | jq -r .path"],
  run: async ({ options, environment, output }) => {
    const { openTarget } = await import("../target.ts");
    const { store, root } = openTarget(environment, options);
    const { filesCommand } = await import("../files.ts");
    await filesCommand(store, root, options.flag("json"), output);
    return 0;
  },
};
