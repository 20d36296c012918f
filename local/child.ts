import { connect } from "node:net";
import { Log, LogLevel, Miniflare, type MiniflareOptions } from "miniflare";
import { VarveError, describeError } from "../shared/errors.ts";
import type { PartMessage } from "./settings.ts";

/** Options every Miniflare part shares: on this machine only, nothing fetched, nothing reported. */
export const quiet = {
  host: "127.0.0.1",
  cf: false,
  enableDevRegistry: false,
  logRequests: false,
  telemetry: { enabled: false },
  log: new Log(LogLevel.WARN, { prefix: "workerd" }),
} as const;

/** Starts Miniflare, lets `prepare` finish, and says that the part is ready, or why it is not. */
export async function runMiniflare(
  options: () => Promise<MiniflareOptions>,
  prepare: (miniflare: Miniflare) => Promise<void>,
): Promise<void> {
  try {
    const miniflare = new Miniflare(await options());
    await miniflare.ready;
    await prepare(miniflare);
    await tell({ type: "ready" });
    void leaveWhenDeaf(await miniflare.ready);
  } catch (error) {
    const known = error instanceof VarveError ? error : undefined;
    await tell({
      type: "failed",
      code: known?.code ?? "part_failed",
      message: known?.message ?? describeError(error),
      fix: known?.fix ?? "Start again; if it fails again, move the data directory away.",
    });
    process.exit(1);
  }
}

const LISTEN_CHECK_MS = 2_000;
const REFUSALS_MAX = 3;

/**
 * Miniflare starts workerd again when it crashes. If that fails, it stays without; then this
 * process ends, to be started afresh.
 */
async function leaveWhenDeaf({ hostname, port }: URL): Promise<never> {
  let refusals = 0;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LISTEN_CHECK_MS));
    refusals = (await accepts(hostname, Number(port))) ? 0 : refusals + 1;
    if (refusals < REFUSALS_MAX) continue;
    console.error(`nothing listens on port ${port} any more`);
    process.exit(1);
  }
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function tell(message: PartMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });
}
