import { parseArgs } from "node:util";
import { describeError } from "../shared/errors.ts";
import { runLocal } from "./local.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8787" },
    data: { type: "string", default: ".varve" },
    flush: { type: "string", default: "1s" },
    json: { type: "boolean", default: false },
  },
});

const FORCE_AFTER_MS = 1_000;
const controller = new AbortController();
let firstMs: number | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // npm passes on a Ctrl-C that the terminal has already delivered, so it arrives twice.
    const nowMs = Date.now();
    if (firstMs !== undefined && nowMs - firstMs >= FORCE_AFTER_MS) process.exit(1);
    firstMs ??= nowMs;
    controller.abort();
  });
}

try {
  await runLocal(
    { port: Number(values.port), dataDir: values.data, flush: values.flush, json: values.json },
    controller.signal,
  );
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 1;
}
