import { Misuse, TARGET_OPTIONS } from "../command.ts";
import type { Command } from "../command.ts";

const SEGMENTS_MAX = 1000;

export const bootstrap: Command = {
  name: "bootstrap",
  summary: "takes in the items that a table held before its stream was read, beside a running compactor",
  options: {
    segments: {
      type: "string",
      value: "N",
      help: "scans in parallel (4); one that is resumed keeps its own",
    },
    ...TARGET_OPTIONS,
  },
  examples: ["varve bootstrap", "varve bootstrap --segments 32"],
  run: async ({ options, environment, output, stopSignal }) => {
    const segments = options.count("segments") ?? 4;
    if (segments > SEGMENTS_MAX) throw new Misuse(`--segments takes at most ${SEGMENTS_MAX}`);
    const { openTarget } = await import("../target.ts");
    const { store, target } = openTarget(environment, options);
    const { bootstrapCommand } = await import("../bootstrap.ts");
    const args = { segments, json: options.flag("json") };
    await bootstrapCommand(store, target, args, output, stopSignal());
    return 0;
  },
};
