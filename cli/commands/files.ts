import type { Command } from "../command.ts";
import { Misuse, TARGET_OPTIONS } from "../command.ts";

export const files: Command = {
  name: "files",
  summary: "the live data files, and the gaps",
  options: {
    urls: {
      type: "boolean",
      help: "with --json: give each file a `url` too, from which anyone can GET it for an hour",
    },
    ...TARGET_OPTIONS,
  },
  examples: [
    "varve files",
    "varve files --json | jq -r .path",
    "varve files --json --urls | jq -r .url | xargs -n 1 curl -O",
  ],
  run: async ({ options, environment, output }) => {
    const [json, urls] = [options.flag("json"), options.flag("urls")];
    if (urls && !json) throw new Misuse("--urls goes with --json");
    const { openTarget, openTargetPresigner } = await import("../target.ts");
    const { target, store, root } = openTarget(environment, options);
    const presign = urls ? await openTargetPresigner(target) : undefined;
    const { filesCommand } = await import("../files.ts");
    await filesCommand(store, root, { json, presign }, output, Date.now());
    return 0;
  },
};
