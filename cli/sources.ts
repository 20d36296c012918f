/**
 * `varve sources`: who may write, and with which keys.
 *
 * KV holds `source:<id>` with the source and its keys, and `key:<write key>` with the source for each key,
 * which is what the edge reads. A command plans its writes from the record before and after, so that wherever it
 * fails the record names each key that is valid: doing it again leaves none behind.
 */
import { planFault } from "../edge/plan.ts";
import { SOURCE, SOURCE_RECORD, sourceKvKey, sourceRecordKvKey } from "../edge/sources.ts";
import type { Source, SourceRecord } from "../edge/sources.ts";
import { VarveError } from "../shared/errors.ts";
import type { Output } from "./output.ts";
import type { SourceEntry, SourceStore } from "./source-store.ts";

/** What a person may say of a source; what is left out stays as it is. */
export type SourceSettings = Partial<Omit<Source, "id" | "enabled">>;

export type SourcesAction =
  /** Makes the source, with a key, or changes the settings of one that is there. */
  | {
      readonly kind: "add";
      readonly id: string;
      readonly settings: SourceSettings;
      /** What is to be as if it had never been said. */
      readonly unset: readonly (keyof SourceSettings)[];
      readonly writeKey?: string;
    }
  | { readonly kind: "list" }
  /** Adds a key; with `dropOld`, the older ones stop being valid. */
  | { readonly kind: "rotate"; readonly id: string; readonly dropOld: boolean }
  | { readonly kind: "disable"; readonly id: string }
  | { readonly kind: "enable"; readonly id: string };

export type SourceChange =
  | { readonly kind: "put"; readonly entries: readonly SourceEntry[] }
  | { readonly kind: "delete"; readonly keys: readonly string[] };

const recordEntry = (record: SourceRecord, writeKeys: readonly string[]): SourceEntry => ({
  key: sourceRecordKvKey(record.id),
  value: JSON.stringify({ ...record, writeKeys }),
});

/** The writes, in turn, that take KV from `before` to `after`. A key leaves the record once it is no longer valid. */
export function planChanges(before: SourceRecord | null, after: SourceRecord): readonly SourceChange[] {
  const value = JSON.stringify(SOURCE.parse(after));
  const { writeKeys } = after;
  const dropped = (before?.writeKeys ?? []).filter((key) => !writeKeys.includes(key));
  const keys = writeKeys.map((key): SourceEntry => ({ key: sourceKvKey(key), value }));
  const put: SourceChange = {
    kind: "put",
    entries: [recordEntry(after, [...writeKeys, ...dropped]), ...keys],
  };
  if (dropped.length === 0) return [put];
  return [
    put,
    { kind: "delete", keys: dropped.map(sourceKvKey) },
    { kind: "put", entries: [recordEntry(after, writeKeys)] },
  ];
}

/** An edge could not hold an event to such a plan, and would say so of each. */
function usable(record: SourceRecord): SourceRecord {
  const fault = record.plan === undefined ? null : planFault(record.plan);
  if (fault === null) return record;
  throw new VarveError("bad_plan", `The tracking plan cannot be used: ${fault}`, "Mend the plan's schemas.");
}

/** The record after the action; throws a VarveError for an action that makes no sense. */
export function applyAction(
  before: SourceRecord | null,
  action: Exclude<SourcesAction, { kind: "list" }>,
  newKey: () => string,
): SourceRecord {
  if (action.kind === "add") {
    const writeKeys = action.writeKey === undefined ? (before?.writeKeys ?? [newKey()]) : [action.writeKey];
    const unset = Object.fromEntries(action.unset.map((name) => [name, undefined]));
    const parsed = SOURCE_RECORD.safeParse({
      ...before,
      ...unset,
      ...action.settings,
      id: action.id,
      writeKeys,
    });
    if (parsed.success) return usable(parsed.data);
    const faults = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new VarveError(
      "bad_source",
      faults.join("; "),
      "See `varve sources --help` for what a source may have.",
    );
  }
  if (before === null) {
    throw new VarveError(
      "unknown_source",
      `There is no source ${action.id}.`,
      "`varve sources list` shows those there are.",
    );
  }
  if (action.kind === "rotate") {
    return { ...before, writeKeys: [newKey(), ...(action.dropOld ? [] : before.writeKeys)] };
  }
  return { ...before, enabled: action.kind === "enable" };
}

function parseRecord(id: string, text: string | null): SourceRecord | null {
  if (text === null) return null;
  try {
    return SOURCE_RECORD.parse(JSON.parse(text));
  } catch (error) {
    const message = `The record of source ${id} cannot be read.`;
    const fix = `Mend or delete the entry ${sourceRecordKvKey(id)} of the KV namespace SOURCES (\`npx wrangler kv key\`).`;
    throw new VarveError("bad_source", message, fix, error);
  }
}

/** 160 bits. */
function newWriteKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return `wk_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function describe(record: SourceRecord): string {
  const traits = [
    record.enabled ? "enabled" : "disabled",
    record.home === undefined ? "" : `home ${record.home}${record.pinned ? ", pinned" : ""}`,
    record.origins.length === 0 ? "" : `origins ${record.origins.join(" ")}`,
    record.rateLimit === undefined ? "" : `${record.rateLimit} events/s`,
    record.signed ? "signed" : "",
    record.ip === "keep" ? "" : `ip ${record.ip}`,
    record.plan === undefined ? "" : `plan of ${Object.keys(record.plan.events).length}`,
  ].filter((trait) => trait !== "");
  const keys = record.writeKeys.length === 0 ? "no key" : record.writeKeys.join(" ");
  return `${record.id}  ${record.name || "-"}  ${traits.join(", ")}  ${keys}`;
}

async function show(record: SourceRecord, json: boolean, output: Output): Promise<void> {
  await output.line(json ? JSON.stringify(record) : describe(record));
}

/** The id of the source that a key's entry holds; null where it holds none. */
function parseOwner(text: string | null): string | null {
  try {
    return text === null ? null : SOURCE.parse(JSON.parse(text)).id;
  } catch {
    return null;
  }
}

/** A key that is another source's would be taken from it. */
async function checkFree(store: SourceStore, writeKey: string, id: string): Promise<void> {
  const owner = parseOwner(await store.get(sourceKvKey(writeKey)));
  if (owner === null || owner === id) return;
  const message = `The key is already one of source ${owner}.`;
  throw new VarveError(
    "key_taken",
    message,
    "Take another key, or drop it there: `varve sources rotate --drop-old`.",
  );
}

/** Where sources are kept, and when the edge knows what is changed there. */
export type SourcesPlace = { readonly where: string; readonly known: string };

export async function sourcesCommand(
  store: SourceStore,
  action: SourcesAction,
  json: boolean,
  { where, known }: SourcesPlace,
  output: Output,
): Promise<void> {
  if (action.kind === "list") {
    const prefix = sourceRecordKvKey("");
    const keys = await store.list(prefix);
    if (keys.length === 0) output.note(`no sources in ${where}: \`varve sources add <id>\` makes one`);
    for (const key of keys) {
      const record = parseRecord(key.slice(prefix.length), await store.get(key));
      if (record !== null) await show(record, json, output);
    }
    return;
  }
  const before = parseRecord(action.id, await store.get(sourceRecordKvKey(action.id)));
  const after = applyAction(before, action, newWriteKey);
  if (action.kind === "add" && action.writeKey !== undefined)
    await checkFree(store, action.writeKey, action.id);
  for (const change of planChanges(before, after)) {
    if (change.kind === "put") await store.put(change.entries);
    else await store.remove(change.keys);
  }
  await show(after, json, output);
  output.note(known);
}
