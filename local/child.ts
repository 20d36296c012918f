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
    tell({ type: "ready" });
  } catch (error) {
    const known = error instanceof VarveError ? error : undefined;
    tell({
      type: "failed",
      code: known?.code ?? "part_failed",
      message: known?.message ?? describeError(error),
      fix: known?.fix ?? "Start again; if it fails again, move the data directory away.",
    });
    process.exitCode = 1;
    // Miniflare's own exit hook ends workerd.
    setImmediate(() => process.exit());
  }
}

function tell(message: PartMessage): void {
  process.send?.(message);
}
