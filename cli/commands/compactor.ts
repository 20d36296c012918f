import type { Command } from "../command.ts";

export const compactor: Command = {
  name: "compactor",
  summary: "reads a table's stream and commits it to the changelog; start as many as you like",
  options: {},
  examples: [
    "VARVE_CHANGELOG=s3://bucket/varve/eu-west-1/events DYNAMODB_TABLE=events AWS_REGION=eu-west-1 varve compactor",
    "VARVE_FLUSH=10s VARVE_METRICS=0.0.0.0:9464 varve compactor    # the settings are environment variables: README.md",
    "VARVE_CONSOLE=9463 varve compactor    # the web console, on http://127.0.0.1:9463/",
  ],
  run: async ({ environment, stopSignal }) => {
    const { compactorMain } = await import("../../compactor/main.ts");
    await compactorMain(environment, stopSignal());
    return 0;
  },
};
