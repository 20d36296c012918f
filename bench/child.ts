/** Child processes of a bench: each says that it is ready, and ends when the bench does, however it does. */
import { fork } from "node:child_process";
import { once } from "node:events";

export type Child = {
  readonly pid: number;
  /** Its first message. */
  readonly ready: unknown;
  /** Sends `message`, and gives the answer. One at a time. */
  readonly ask: (message: object) => Promise<unknown>;
  readonly stop: () => Promise<void>;
};

export async function startChild(
  module: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Child> {
  const child = fork(module, [...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const next = async (): Promise<unknown> => {
    const early = ended.then(([code]) => {
      throw new Error(`${module} ended early with code ${code}`);
    });
    early.catch(() => {});
    const [message] = (await Promise.race([once(child, "message"), early])) as [unknown];
    return message;
  };
  return {
    pid: child.pid ?? 0,
    ready: await next(),
    ask: (message) => {
      const answer = next();
      child.send(message);
      return answer;
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
