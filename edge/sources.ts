/**
 * Sources: who may write. KV `SOURCES` holds `key:<write key>` -> JSON; the isolate remembers what it read,
 * an unknown key for a shorter while, so that a new key works soon.
 */
import { z } from "zod";
import { SOURCE_ID } from "../shared/item.ts";

export const SOURCE = z.object({
  id: SOURCE_ID,
  name: z.string().default(""),
  enabled: z.boolean().default(true),
});
export type Source = z.infer<typeof SOURCE>;

export const sourceKvKey = (writeKey: string): string => `key:${writeKey}`;

export type SourceLookup =
  | { readonly kind: "known"; readonly source: Source }
  | { readonly kind: "unknown" }
  /** The record in KV is not one of ours. */
  | { readonly kind: "unreadable" };

export type SourceCache = {
  readonly find: (kv: KVNamespace, writeKey: string, nowMs: number) => Promise<SourceLookup>;
};

const KNOWN_MS = 60_000;
const UNKNOWN_MS = 5_000;
const ENTRIES_MAX = 2_000;
/** KV keys are at most 512 bytes; a write key is some 32 characters. */
const WRITE_KEY_MAX = 200;

export function createSourceCache(): SourceCache {
  const entries = new Map<string, { readonly lookup: SourceLookup; readonly untilMs: number }>();

  async function find(kv: KVNamespace, writeKey: string, nowMs: number): Promise<SourceLookup> {
    if (writeKey.length > WRITE_KEY_MAX) return { kind: "unknown" };
    const remembered = entries.get(writeKey);
    if (remembered !== undefined && remembered.untilMs > nowMs) return remembered.lookup;
    const lookup = parseSource(await kv.get(sourceKvKey(writeKey), "text"));
    const oldest = entries.keys().next();
    if (entries.size >= ENTRIES_MAX && !oldest.done) entries.delete(oldest.value);
    entries.delete(writeKey);
    const forMs = lookup.kind === "known" ? KNOWN_MS : UNKNOWN_MS;
    entries.set(writeKey, { lookup, untilMs: nowMs + forMs });
    return lookup;
  }
  return { find };
}

export function parseSource(text: string | null): SourceLookup {
  if (text === null) return { kind: "unknown" };
  try {
    return { kind: "known", source: SOURCE.parse(JSON.parse(text)) };
  } catch {
    return { kind: "unreadable" };
  }
}
