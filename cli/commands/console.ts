import type { Command } from "../command.ts";
import { DATA_OPTION } from "../command.ts";

const PORT = 9463;

export const console: Command = {
  name: "console",
  summary: "a web page that shows the changelog as it grows: events, flow, files, shards, cost; reads only",
  options: {
    port: {
      type: "string",
      value: "PORT",
      help: `where it listens on this machine (${PORT}); 0 picks a free port`,
    },
    data: DATA_OPTION,
  },
  examples: [
    "varve console",
    "VARVE_CONSOLE=0.0.0.0:9463 VARVE_CONSOLE_TOKEN=$(openssl rand -hex 24) varve console    # for others, who need the token",
  ],
  run: async ({ options, environment, output, stopSignal }) => {
    const { CONSOLE_ENV, parseEnvironment } = await import("../../shared/config.ts");
    const { systemClock } = await import("../../shared/clock.ts");
    const { openTarget } = await import("../target.ts");
    const { openConsole } = await import("../../console/console.ts");
    const { VARVE_CONSOLE: listen, VARVE_CONSOLE_TOKEN: token } = parseEnvironment(CONSOLE_ENV, environment);
    const port = options.port("port", PORT);
    const signal = stopSignal();
    const { store, root, target } = openTarget(environment, options);
    const opened = await openConsole({
      listen:
        options.text("port") === undefined && listen !== undefined ? listen : { host: "127.0.0.1", port },
      token,
      store,
      changelog: root,
      endpoint: target["S3_ENDPOINT"],
      clock: systemClock,
    });
    await output.line(opened.url);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await opened.close();
    store.close();
    return 0;
  },
};
