/** A console over a store in memory, asked over HTTP; its time passes when told to. */
import { request } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { layDown, object } from "../../bench/laid.ts";
import type { GivenRow } from "../../bench/laid.ts";
import type { ConsoleOptions } from "../../console/console.ts";
import { openConsole } from "../../console/console.ts";
import type { Events, State } from "../../console/state.ts";
import { systemClock } from "../../shared/clock.ts";
import type { Clock } from "../../shared/clock.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { memoryStore } from "../fakes/store.ts";

export const T0 = Date.UTC(2026, 10, 20, 12);

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };
type Opened = {
  readonly port: number;
  readonly ask: (path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>;
  readonly state: () => Promise<State>;
  readonly events: (after?: number) => Promise<Events>;
  /** Lets time pass. */
  readonly wait: (ms: number) => void;
};

export const closers: (() => Promise<void>)[] = [];
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0)) await close();
}

export async function open(store: ObjectStore, some: Partial<ConsoleOptions> = {}): Promise<Opened> {
  let nowMs = T0 + 10_000;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        setTimeout(() => {
          if (signal?.aborted !== true) nowMs += ms;
          resolve();
        }, 50);
      }),
  };
  const view = await openConsole({
    listen: { host: "127.0.0.1", port: 0 },
    changelog: "s3://bucket/prefix/region/table",
    store,
    clock,
    ...some,
  });
  closers.push(view.close);
  const ask: Opened["ask"] = (path, headers = {}, method = "GET") =>
    new Promise((resolve, reject) => {
      const sent = request(
        `${view.url.replace(/\/$/, "")}${path}`,
        { method, headers, agent: false },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => (text += chunk));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
          );
        },
      );
      sent.on("error", reject);
      sent.end();
    });
  return {
    ask,
    port: Number(new URL(view.url).port),
    state: async () => JSON.parse((await ask("/api/state")).text) as State,
    events: async (after = 0) => JSON.parse((await ask(`/api/events?after=${after}`)).text) as Events,
    wait: (ms) => {
      nowMs += ms;
    },
  };
}

export const track = (id: string, changedMs: number, kind: "event" | "rejected" = "event"): GivenRow => ({
  changedMs,
  key: `{"pk":"${kind}-${id}"}`,
  kind,
  collection: kind === "event" ? "tracks" : "rejected",
  id,
  event: kind === "event" ? "Paid" : null,
  image:
    kind === "event"
      ? `{"type":"track","event":"Paid","messageId":"${id}"}`
      : `{"reason":{"code":"missing_id","message":"no user"},"event":{"type":"track","event":"Lost"}}`,
});

export async function laidStore() {
  const store = memoryStore();
  const laid = await layDown(store, T0);
  closers.push(laid.close);
  await laid.commit(
    [object("users", "u1", T0 + 1_000), track("m1", T0 + 1_500), track("r1", T0 + 2_000, "rejected")],
    T0 + 3_000,
  );
  return { store, laid };
}
