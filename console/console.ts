/**
 * The web console: a page that shows a changelog as it grows. It reads, and has no route that writes.
 *
 * Nobody looking, it does nothing but note its process's own counters now and then: the store is only asked when a
 * page asks.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../shared/clock.ts";
import { readPrices } from "../shared/cost/prices.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { readAssets, etagOf } from "./assets.ts";
import type { Admission } from "./guard.ts";
import { admit, checkExposure } from "./guard.ts";
import { sumFigures } from "./model/commits.ts";
import { costNow, storageAt } from "./model/cost.ts";
import { flowOf } from "./model/flow.ts";
import { lineageOf } from "./model/lineage.ts";
import { pictureOf } from "./model/picture.ts";
import type { Reading } from "./model/samples.ts";
import { parseSamples, readingOf } from "./model/samples.ts";
import { openRecent } from "./recent.ts";
import type { Lineage, Picture, State } from "./state.ts";
import { openWatch } from "./watch.ts";

export type ConsoleOptions = {
  /** Port 0: any that is free. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Needed anywhere but on loopback. */
  readonly token?: string | undefined;
  /** The changelog's address, to be shown. */
  readonly changelog: string;
  readonly store: ObjectStore;
  /** Where S3 is, when it is not AWS's: its prices hold. */
  readonly endpoint?: string | undefined;
  /** The Prometheus text of the process that serves it. */
  readonly metrics?: (() => Promise<string>) | undefined;
  readonly clock: Clock;
};

export type Console = { readonly url: string; readonly close: () => Promise<void> };

/** What the page to sign in looks like is no secret. */
const SIGN_IN_ASSETS: ReadonlySet<string> = new Set(["/style.css", "/icon.svg"]);
const READING_MS = 5_000;
const READINGS_MAX = 720;
const COMMITS_SHOWN_MAX = 120;
/** Nobody has looked for so long: memory is let go. */
const UNWATCHED_MS = 60_000;

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
} as const;

/** Throws `console_needs_token` and `console_port`. */
export async function openConsole(options: ConsoleOptions): Promise<Console> {
  const { listen, token, clock, store, metrics } = options;
  checkExposure(listen.host, token);
  const assets = readAssets();
  const prices = readPrices(undefined);
  const storage = storageAt(options.endpoint);
  const watch = openWatch(store, clock);
  const recent = openRecent(store, clock);
  const startedMs = clock.nowMs();
  let readings: readonly Reading[] = [];
  let watchedMs = startedMs;

  const note = async (): Promise<void> => {
    if (clock.nowMs() - watchedMs > UNWATCHED_MS) recent.rest();
    if (metrics === undefined) return;
    readings = [...readings, readingOf(parseSamples(await metrics()), clock.nowMs())].slice(-READINGS_MAX);
  };
  await note();
  const timer = setInterval(() => void note().catch(() => undefined), READING_MS);
  timer.unref();

  /** Drawn once a version. */
  let drawing = drawn(null);
  const stateNow = async (): Promise<State> => {
    const { snapshot, commits, problem } = await watch.look();
    const nowMs = clock.nowMs();
    watchedMs = nowMs;
    if (snapshot !== null) recent.follow(commits, snapshot.files.values());
    if (drawing.snapshot !== snapshot) drawing = drawn(snapshot);
    const { picture, lineage, bytes } = drawing;
    const reading = readings.at(-1);
    return {
      changelog: options.changelog,
      problem,
      log:
        snapshot === null
          ? null
          : {
              version: snapshot.version,
              createdMs: snapshot.metaData.createdTime ?? null,
              committedMs: snapshot.log.committedMs,
              watermarkMs: snapshot.log.watermarkMs,
              rowsCommitted: snapshot.log.committed.rows,
              rowsLive: snapshot.live.rows,
              rowsSuperseded: snapshot.log.superseded.rows,
              rowsExpired: snapshot.log.expired.rows,
              rowsForgotten: snapshot.log.forgotten.rows,
              changes: snapshot.log.changes,
              files: snapshot.files.size,
              bytes,
            },
      workers: reading?.workers ?? null,
      bufferedBytes: reading?.bufferedBytes ?? null,
      flow: flowOf({ nowMs, commits, digests: recent.digests(), readings }),
      picture,
      commits: commits
        .slice(-COMMITS_SHOWN_MAX)
        .toReversed()
        .map(({ line }) => line),
      lineage,
      cost: costNow({
        prices,
        storage,
        figures: sumFigures(commits),
        storedBytes: bytes,
        rowsLive: snapshot?.live.rows ?? 0,
        shardsOpen: lineage.open,
        itemBytes: recent.imageBytes(),
        reading,
        startedMs,
      }),
    };
  };

  const answer = async (path: string, query: URLSearchParams): Promise<Answer> => {
    if (path === "/api/state") return json(await stateNow());
    if (path === "/api/events") {
      const after = Number(query.get("after") ?? 0);
      return json(recent.after(Number.isSafeInteger(after) ? after : 0));
    }
    const asset = assets.get(path === "/" ? "/index.html" : path);
    if (asset !== undefined && !path.endsWith(".html")) return { status: 200, ...asset };
    return json({ error: "not found", code: "unknown_path", message: "there is no such page" }, 404);
  };

  const server = createServer((request, response) => {
    const [path = "/", query] = (request.url ?? "/").split("?", 2);
    const asked = new URLSearchParams(query);
    const isData = path !== "/";
    const admission = admit(
      {
        isData,
        method: request.method ?? "",
        host: request.headers.host,
        authorization: request.headers.authorization,
        cookie: request.headers.cookie,
        token: asked.get("token"),
        site: headerOf(request, "sec-fetch-site"),
      },
      { token, port: listen.port },
    );
    const send = (one: Answer): void =>
      respond(response, one, request.headers["if-none-match"], request.method === "HEAD", clock.nowMs());
    const needsToken = admission.kind === "refused" && admission.status === 401;
    if (needsToken && SIGN_IN_ASSETS.has(path)) void answer(path, asked).then(send);
    else if (admission.kind === "refused") {
      const page = assets.get("/sign-in.html");
      send(needsToken && !isData && page !== undefined ? { ...page, status: 401 } : refusal(admission));
    } else if (admission.kind === "signed-in") {
      const headers = { "set-cookie": admission.cookie, location: "/" };
      send({ status: 303, body: "", type: "text/plain", etag: undefined, headers });
    } else {
      void answer(path, asked)
        .catch((error: unknown) => json({ code: "unexpected", message: describeError(error) }, 500))
        .then(send);
    }
  });
  await listening(server, listen);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${listen.host}:${port}/`,
    close: async () => {
      clearInterval(timer);
      watch.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await recent.close();
    },
  };
}

type Drawing = {
  readonly snapshot: Snapshot | null;
  readonly picture: Picture;
  readonly lineage: Lineage;
  readonly bytes: number;
};

const NO_PICTURE: Picture = { windows: [], flushes: [], levels: [], gaps: [] };

function drawn(snapshot: Snapshot | null): Drawing {
  const picture = snapshot === null ? NO_PICTURE : pictureOf(snapshot);
  const bytes = picture.levels.reduce((sum, level) => sum + level.bytes, 0);
  return { snapshot, picture, lineage: lineageOf(snapshot?.shards ?? new Map()), bytes };
}

type Answer = {
  readonly status: number;
  readonly body: Buffer | string;
  readonly type: string;
  readonly etag: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
};

function json(value: unknown, status = 200): Answer {
  const body = JSON.stringify(value);
  return { status, body, type: "application/json", etag: status === 200 ? etagOf(body) : undefined };
}

function refusal({ status, code, message, fix }: Extract<Admission, { kind: "refused" }>): Answer {
  const headers = status === 405 ? { allow: "GET, HEAD" } : status === 401 ? WWW_AUTHENTICATE : {};
  return { ...json({ error: message, code, message, fix }, status), headers };
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

const WWW_AUTHENTICATE = { "www-authenticate": 'Bearer realm="varve console"' };

function respond(
  response: ServerResponse,
  { status, body, type, etag, headers }: Answer,
  known: string | undefined,
  withoutBody: boolean,
  nowMs: number,
): void {
  const isKnown = etag !== undefined && known === etag && status === 200;
  const length = Buffer.byteLength(body);
  response.writeHead(isKnown ? 304 : status, {
    ...HEADERS,
    "cache-control": type === "application/json" || status !== 200 ? "no-store" : "no-cache",
    "varve-now": String(nowMs),
    ...(etag === undefined ? {} : { etag }),
    ...(isKnown ? {} : { "content-type": type, "content-length": length }),
    ...headers,
  });
  response.end(isKnown || withoutBody ? undefined : body);
}

function listening(server: Server, { host, port }: ConsoleOptions["listen"]): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: Error) => {
      reject(
        new VarveError(
          "console_port",
          `the console cannot listen on ${host}:${port}: ${error.message}.`,
          "Give it another port in VARVE_CONSOLE, as `port` or `host:port`; without the variable there is no console.",
          error,
        ),
      );
    });
    server.listen(port, host.replaceAll(/^\[|\]$/g, ""), resolve);
  });
}
