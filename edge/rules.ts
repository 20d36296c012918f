/**
 * What a source asks of its events, past what every event must be: its tracking plan, its clients' IP
 * address, its bots. Compiled once a source; pure.
 */
import type { NormalEvent, Reason } from "../shared/event.ts";
import { isJsonObject } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { compilePlan } from "./plan.ts";
import type { Finding } from "./plan.ts";
import type { Source } from "./sources.ts";

/** What the connection says of the client. */
export type Client = { readonly ip: string | null; readonly userAgent: string | null };

export type Verdict =
  | { readonly kind: "accepted"; readonly flags: readonly string[]; readonly violations: readonly string[] }
  | { readonly kind: "rejected"; readonly reason: Reason };

/** May change the event's record; says what to flag in it. */
export type Rules = (event: NormalEvent) => Verdict;

const BOT =
  /bot\b|bot\/|crawl|spider|slurp|headless|lighthouse|pingdom|uptime|facebookexternalhit|preview|phantomjs/i;

/** Events of a batch mostly come from one device: the last answer serves again. */
export function createBotTest(): (userAgent: string) => boolean {
  let last = "";
  let lastIsBot = false;
  return (userAgent) => {
    if (userAgent !== last) {
      last = userAgent;
      lastIsBot = BOT.test(userAgent);
    }
    return lastIsBot;
  };
}

function applyIp(record: JsonObject, policy: Source["ip"], client: Client): void {
  const context = isJsonObject(record["context"]) ? record["context"] : {};
  const direct = policy === "keep" && context["direct"] === true;
  if (policy === "remove" && "ip" in context) record["context"] = { ...context, ip: undefined };
  if (policy !== "fill" && !direct) return;
  if (client.ip !== null && context["ip"] === undefined) record["context"] = { ...context, ip: client.ip };
}

const NONE: readonly string[] = [];
const BOT_FLAG: readonly string[] = ["bot"];
const PLAN_FLAG = "plan_violation";
const UNUSABLE_FLAG = "plan_unusable";
const KEPT: Finding = { kind: "kept" };
const ACCEPTED: Verdict = { kind: "accepted", flags: NONE, violations: NONE };

/** Whether all that the source asks of an event is whether it is a bot's. */
export const takesAsSent = ({ plan, ip }: Source): boolean => plan === undefined && ip === "keep";

export type CompiledSource = (client: Client) => Rules;

export function compileSource(source: Source): CompiledSource {
  const isBot = createBotTest();
  const plan = source.plan === undefined ? null : compilePlan(source.plan);

  return (client) => (event) => {
    const { record } = event;
    const context = record["context"] as JsonObject;
    if (source.ip !== "keep" || context["direct"] === true) applyIp(record, source.ip, client);
    const userAgent = context["userAgent"] ?? client.userAgent;
    const bot = typeof userAgent === "string" && isBot(userAgent);
    const finding = plan === null ? KEPT : plan(event);
    if (finding.kind === "kept") return bot ? { ...ACCEPTED, flags: BOT_FLAG } : ACCEPTED;
    if (finding.kind === "unusable") {
      const flags = bot ? [...BOT_FLAG, UNUSABLE_FLAG] : [UNUSABLE_FLAG];
      return { kind: "accepted", flags, violations: [finding.reason] };
    }
    const { violations } = finding;
    if (source.plan?.onViolation === "reject") {
      const message = `the event breaks its tracking plan: ${violations.join("; ")}`;
      return { kind: "rejected", reason: { code: PLAN_FLAG, message } };
    }
    return { kind: "accepted", flags: bot ? [...BOT_FLAG, PLAN_FLAG] : [PLAN_FLAG], violations };
  };
}
