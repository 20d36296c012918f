/**
 * Sources: who may write. KV `SOURCES` holds, of each source, `source:<id>` with its write keys, and for
 * each key `key:<write key>` with all that a request needs; so that a request reads one entry. The isolate
 * remembers what it read, an unknown key for a shorter while, so that a new key works soon.
 */
import * as z from "zod";
import { within } from "../shared/clock.ts";
import type { Clock } from "../shared/clock.ts";
import { SOURCE_ID } from "../shared/item.ts";
import { isLargerThan } from "../shared/json.ts";
import { compileSource } from "./rules.ts";
import type { CompiledSource } from "./rules.ts";

const TRACKING_PLAN = z.object({
  /** A violation is stored and flagged, or the event is rejected. */
  onViolation: z.enum(["mark", "reject"]).default("mark"),
  /** Whether a track event that the plan does not name is a violation. */
  unplanned: z.enum(["allow", "violation"]).default("allow"),
  /** JSON Schema (2020-12) of properties by track event name, or of traits or properties by event type. */
  events: z.record(z.string(), z.union([z.boolean(), z.record(z.string(), z.unknown())])),
});
export type TrackingPlan = z.infer<typeof TRACKING_PLAN>;

export const SOURCE = z.object({
  id: SOURCE_ID,
  name: z.string().default(""),
  enabled: z.boolean().default(true),
  /** The region that its objects live in; without it, the first of REGIONS. */
  home: z.string().optional(),
  /** Its events go to the home region only. */
  pinned: z.boolean().default(false),
  /** Web origins that may send; none named means any. */
  origins: z.array(z.string()).default([]),
  /** Events a second, in each isolate; a burst of ten seconds' worth is let through. */
  rateLimit: z.number().positive().optional(),
  /** Requests must carry a signature made with the secret HMAC_<ID>. */
  signed: z.boolean().default(false),
  /** The client's IP address: filled in where absent, removed, or kept as sent. */
  ip: z.enum(["keep", "fill", "remove"]).default("keep"),
  plan: TRACKING_PLAN.optional(),
});
export type Source = z.infer<typeof SOURCE>;

/** What `source:<id>` holds: the source and every key that is valid for it. */
export const SOURCE_RECORD = SOURCE.extend({ writeKeys: z.array(z.string().min(1)).default([]) });
export type SourceRecord = z.infer<typeof SOURCE_RECORD>;

export const sourceKvKey = (writeKey: string): string => `key:${writeKey}`;
export const sourceRecordKvKey = (id: string): string => `source:${id}`;

export type SourceLookup =
  | { readonly kind: "known"; readonly source: Source; readonly rulesOf: CompiledSource }
  | { readonly kind: "unknown" }
  /** The record in KV is not one of ours. */
  | { readonly kind: "unreadable" };

export type SourceCache = {
  readonly find: (kv: KVNamespace, writeKey: string, clock: Clock) => Promise<SourceLookup>;
};

const KNOWN_MS = 60_000;
const UNKNOWN_MS = 5_000;
const READ_MS = 5_000;
const ENTRIES_MAX = 2_000;
/** KV refuses keys of more than 512 bytes; a write key is some 40. */
const WRITE_KEY_BYTES_MAX = 200;

export function createSourceCache(): SourceCache {
  const entries = new Map<string, { readonly lookup: SourceLookup; readonly untilMs: number }>();

  async function find(kv: KVNamespace, writeKey: string, clock: Clock): Promise<SourceLookup> {
    if (isLargerThan(writeKey, WRITE_KEY_BYTES_MAX)) return { kind: "unknown" };
    const nowMs = clock.nowMs();
    const remembered = entries.get(writeKey);
    if (remembered !== undefined && remembered.untilMs > nowMs) return remembered.lookup;
    let lookup: SourceLookup;
    try {
      lookup = parseSource(await within(kv.get(sourceKvKey(writeKey), "text"), READ_MS, clock));
    } catch (error) {
      // While KV is out, what it said last is better than nothing.
      if (remembered === undefined) throw error;
      lookup = remembered.lookup;
    }
    const oldest = entries.keys().next();
    if (entries.size >= ENTRIES_MAX && !oldest.done) entries.delete(oldest.value);
    entries.delete(writeKey);
    const forMs = lookup.kind === "known" ? KNOWN_MS : UNKNOWN_MS;
    entries.set(writeKey, { lookup, untilMs: nowMs + forMs });
    return lookup;
  }
  return { find };
}

function parseSource(text: string | null): SourceLookup {
  if (text === null) return { kind: "unknown" };
  try {
    const source = SOURCE.parse(JSON.parse(text));
    return { kind: "known", source, rulesOf: compileSource(source) };
  } catch {
    return { kind: "unreadable" };
  }
}
