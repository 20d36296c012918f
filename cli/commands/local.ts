import { requireCheckout } from "../checkout.ts";
import type { Command } from "../command.ts";
import { DATA_OPTION, JSON_OPTION } from "../command.ts";

export const local: Command = {
  name: "local",
  summary: "the whole system on this machine: DynamoDB, S3, the edge, the compactor",
  options: {
    port: { type: "string", value: "PORT", help: "where the edge listens (8787); 0 picks a free port" },
    data: DATA_OPTION,
    flush: { type: "string", value: "TIME", help: "how often changes are committed (1s)" },
    json: { ...JSON_OPTION, help: "for programs: one object on the first line of stdout, then events" },
  },
  note: [
    "There is no spill queue here, since a queue on this machine would be one in memory: an event that the",
    "local DynamoDB does not take is answered 503, and stays with its client. 200 means that it is on disk.",
  ].join("\n"),
  examples: ["varve local", "varve local --port 0 --data /tmp/try --flush 200ms --json"],
  run: async ({ options, stopSignal }) => {
    requireCheckout();
    const port = options.port("port", 8787);
    options.duration("flush");
    const { runLocal } = await import("../../local/local.ts");
    await runLocal(
      {
        port,
        dataDir: options.text("data") ?? ".varve",
        flush: options.text("flush") ?? "1s",
        json: options.flag("json"),
      },
      stopSignal(),
    );
    return 0;
  },
};
