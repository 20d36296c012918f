import { startPart, type Part, type PartEvent, type PartName, type PartSpec } from "./part.ts";

/** The parts that run, and the two ways to end them. */
export type Parts = {
  /** Resolves when the part is ready for the first time. After `stop` or `kill` nothing starts. */
  readonly start: (spec: PartSpec) => Promise<void>;
  readonly pids: () => Readonly<Record<string, number>>;
  /** In order: the edge takes no more, the compactor commits what is left, then the stores end. */
  readonly stop: () => Promise<void>;
  /** All at once. */
  readonly kill: () => Promise<void>;
};

export function openParts(report: (event: PartEvent) => void): Parts {
  const parts = new Map<PartName, Part>();
  let closed = false;

  /** dynoxide cannot notice that its supervisor is gone: the S3 part ends it then. */
  const guardDynamodb = (): void => {
    const pid = parts.get("dynamodb")?.pid();
    if (pid !== undefined) parts.get("s3")?.send({ type: "guard", pid });
  };
  return {
    start: (spec) => {
      if (closed) return Promise.reject(new Error("the system is stopping"));
      const part = startPart(spec, (event) => {
        if (event.event === "started") guardDynamodb();
        report(event);
      });
      parts.set(spec.name, part);
      return part.ready;
    },
    pids: () => {
      const pids: Record<string, number> = {};
      for (const part of parts.values()) {
        const pid = part.pid();
        if (pid !== undefined) pids[part.name] = pid;
      }
      return pids;
    },
    stop: async () => {
      closed = true;
      await parts.get("edge")?.stop();
      await parts.get("compactor")?.stop();
      await Promise.all([parts.get("s3")?.stop(), parts.get("dynamodb")?.stop()]);
    },
    kill: async () => {
      closed = true;
      await Promise.all([...parts.values()].map((part) => part.stop(0)));
    },
  };
}
