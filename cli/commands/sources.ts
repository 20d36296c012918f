import { readFile } from "node:fs/promises";
import { z } from "zod";
import { VarveError } from "../../shared/errors.ts";
import { requireCheckout } from "../checkout.ts";
import type { Command, Options } from "../command.ts";
import { DATA_OPTION, JSON_OPTION, Misuse } from "../command.ts";
import type { SourceSettings, SourcesAction, SourcesPlace } from "../sources.ts";

export const sources: Command = {
  name: "sources",
  summary: "who may write, and with which keys",
  words: "list | add <id> | rotate <id> | disable <id> | enable <id>",
  options: {
    name: { type: "string", value: "NAME", help: "add: for people" },
    "write-key": {
      type: "string",
      value: "KEY",
      help: "add: this key, instead of a new one; with a colon in it, only for Jitsu's SDK",
    },
    home: { type: "string", value: "REGION", help: "add: the region its objects live in" },
    pinned: { type: "boolean", help: "add: its events go to the home region only" },
    origins: { type: "string", value: "A,B", help: "add: web origins that may send" },
    rate: { type: "string", value: "N", help: "add: events a second" },
    signed: { type: "boolean", help: "add: requests must be signed with the secret HMAC_<ID>" },
    ip: { type: "string", value: "HOW", help: "add: the client's address: keep, fill, remove" },
    plan: { type: "string", value: "FILE", help: "add: a tracking plan, JSON" },
    unset: { type: "string", value: "A,B", help: "add: which of the above are to be as if never said" },
    "drop-old": { type: "boolean", help: "rotate: the keys before stop being valid" },
    env: {
      type: "string",
      value: "ENV",
      help: "in production, through wrangler: the environment of wrangler.toml",
    },
    json: JSON_OPTION,
    data: DATA_OPTION,
  },
  examples: [
    "varve sources list",
    "varve sources add shop --name 'Web shop' --origins https://shop.example --rate 500",
    "varve sources add shop --unset rate,pinned",
    "varve sources rotate shop --env production",
  ],
  run: async ({ options, words, output }) => {
    const action = await actionOf(words, options);
    requireCheckout();
    const { openLocalStore, openWranglerStore } = await import("../source-store.ts");
    const { sourcesCommand } = await import("../sources.ts");
    const environment = options.text("env");
    const dataDir = options.text("data") ?? ".varve";
    const { place, store } =
      environment === undefined
        ? { place: await localPlace(dataDir), store: await openLocalStore(dataDir) }
        : {
            place: { where: `environment ${environment}`, known: SOON },
            store: openWranglerStore({ kind: "remote", environment }),
          };
    try {
      await sourcesCommand(store, action, options.flag("json"), place, output);
    } finally {
      await store.close();
    }
    return 0;
  },
};

/** KV remembers for a minute, and so does an isolate. */
const SOON = "The edge sees it within two minutes.";

async function localPlace(dataDir: string): Promise<SourcesPlace> {
  const { keepPrivate } = await import("../../local/data-dir.ts");
  const { readRunning } = await import("../../local/running.ts");
  keepPrivate();
  const later = `Kept in ${dataDir}, for a system that is started there. For production: --env production.`;
  return { where: dataDir, known: readRunning(dataDir) === undefined ? later : SOON };
}

async function actionOf([kind, id, ...more]: readonly string[], options: Options): Promise<SourcesAction> {
  if (kind === "list" && id === undefined) return { kind };
  if (id === undefined || more.length > 0)
    throw new Misuse("sources takes list, or add, rotate, disable or enable and an id");
  if (kind === "add") {
    const writeKey = options.text("write-key");
    if (writeKey !== undefined && !WRITE_KEY.test(writeKey)) {
      throw new Misuse("--write-key takes 1-200 characters of ASCII, without spaces");
    }
    const settings = await settingsOf(options);
    return { kind, id, settings, unset: unsetOf(options), ...(writeKey === undefined ? {} : { writeKey }) };
  }
  if (kind === "rotate") return { kind, id, dropOld: options.flag("drop-old") };
  if (kind === "disable" || kind === "enable") return { kind, id };
  throw new Misuse(`there is no \`sources ${kind}\``);
}

/** A colon ends Basic auth's user name, and Jitsu's SDK wants one in its key. */
const WRITE_KEY = /^[!-~]{1,200}$/;

const SETTINGS = {
  name: "name",
  home: "home",
  pinned: "pinned",
  origins: "origins",
  rate: "rateLimit",
  signed: "signed",
  ip: "ip",
  plan: "plan",
} as const satisfies Record<string, keyof SourceSettings>;

const listOf = (text: string): string[] =>
  text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");

function unsetOf(options: Options): (keyof SourceSettings)[] {
  return listOf(options.text("unset") ?? "").map((name) => {
    if (Object.hasOwn(SETTINGS, name)) return SETTINGS[name as keyof typeof SETTINGS];
    throw new Misuse(`--unset takes of ${Object.keys(SETTINGS).join(", ")}, not ${name}`);
  });
}

/** As browsers write it, which is what the edge compares: in lower case, no path, no port that goes without saying. */
function originOf(text: string): string {
  const url = URL.parse(text);
  const bare = url !== null && url.host !== "" && /^[^/]+:\/\/[^/?#@]+\/?$/.test(text);
  if (!bare) throw new Misuse(`--origins takes web origins such as https://shop.example, not ${text}`);
  return url.origin === "null" ? `${url.protocol}//${url.host}`.toLowerCase() : url.origin;
}

const IP = z.enum(["keep", "fill", "remove"]);

async function settingsOf(options: Options): Promise<SourceSettings> {
  const [name, home, origins, rate, plan] = ["name", "home", "origins", "rate", "plan"].map(options.text);
  const ip = options.text("ip");
  const knownIp = IP.safeParse(ip);
  if (ip !== undefined && !knownIp.success) throw new Misuse("--ip takes keep, fill or remove");
  return {
    ...(name === undefined ? {} : { name }),
    ...(home === undefined ? {} : { home }),
    ...(origins === undefined ? {} : { origins: listOf(origins).map(originOf) }),
    ...(rate === undefined ? {} : { rateLimit: options.number("rate", 0) }),
    ...(options.flag("pinned") ? { pinned: true } : {}),
    ...(options.flag("signed") ? { signed: true } : {}),
    ...(knownIp.success ? { ip: knownIp.data } : {}),
    ...(plan === undefined ? {} : { plan: await readPlan(plan) }),
  };
}

async function readPlan(path: string): Promise<NonNullable<SourceSettings["plan"]>> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new VarveError(
      "bad_plan",
      `the tracking plan ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      "Give the path of a JSON file.",
      error,
    );
  }
}
