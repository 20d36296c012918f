/**
 * Loaded first into every Node part: when the supervisor is gone, even by kill -9, the
 * channel to it closes, and the part leaves at once. Nothing needs a farewell: what was
 * acknowledged is durable, and the next start resumes from it.
 *
 * A bare binary cannot watch the channel itself, so a part may be told to guard its process.
 */
let guardedPid: number | undefined;

process.on("message", (message: unknown) => {
  if (isGuard(message)) guardedPid = message.pid;
});

process.on("disconnect", () => {
  if (guardedPid !== undefined) killGroup(guardedPid);
  process.exit(1);
});

// A listener would otherwise hold the process open after its work is done.
process.channel?.unref();

function isGuard(message: unknown): message is { readonly type: "guard"; readonly pid: number } {
  return (
    typeof message === "object" &&
    message !== null &&
    "type" in message &&
    message.type === "guard" &&
    "pid" in message &&
    typeof message.pid === "number"
  );
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
