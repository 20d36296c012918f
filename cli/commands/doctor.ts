import type { Command } from "../command.ts";
import { TARGET_OPTIONS } from "../command.ts";

export const doctor: Command = {
  name: "doctor",
  summary: "checks a real environment before first use, each failure with its fix",
  options: {
    edge: { type: "string", value: "URL", help: "ask the edge as well" },
    "no-table": { type: "boolean", help: "for a machine that only reads the changelog" },
    ...TARGET_OPTIONS,
  },
  examples: ["varve doctor", "varve doctor --edge https://events.example.com --json"],
  run: async ({ options, environment, output }) => {
    const { targetOf } = await import("../target.ts");
    const target = targetOf(environment, options);
    const { doctorCommand } = await import("../doctor.ts");
    const args = { edge: options.text("edge"), table: !options.flag("no-table"), json: options.flag("json") };
    return (await doctorCommand(target, args, output)) ? 0 : 1;
  },
};
