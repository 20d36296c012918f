/**
 * `varve sources`: who may write, and with which keys.
 *
 * KV holds `source:<id>` with the source and its keys, and `key:<write key>` with the source for each key,
 * which is what the edge reads. A command plans its writes from the record before and after, so that no key
 * is left behind.
 */
import { SOURCE, SOURCE_RECORD, sourceKvKey, sourceRecordKvKey } from "../edge/sources.ts";
import type { Source, SourceRecord } from "../edge/sources.ts";
import { VarveError } from "../shared/errors.ts";
import type { Output } from "./output.ts";
import type { SourceStore } from "./source-store.ts";

/** What a person may say of a source; what is left out stays as it is. */
export type SourceSettings = Partial<Omit<Source, "id" | "enabled">>;

export type SourcesAction =
  /** Makes the source, with a key, or changes the settings of one that is there. */
  | {
      readonly kind: "add";
      readonly id: string;
      readonly settings: SourceSettings;
      readonly writeKey?: string;
    }
  | { readonly kind: "list" }
  /** Adds a key; with `dropOld`, the older ones stop being valid. */
  | { readonly kind: "rotate"; readonly id: string; readonly dropOld: boolean }
  | { readonly kind: "disable"; readonly id: string }
  | { readonly kind: "enable"; readonly id: string };

export type SourceChange =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "delete"; readonly key: string };

/** The writes that take KV from `before` to `after`: the record, its keys, and the keys it no longer has. */
export function planChanges(before: SourceRecord | null, after: SourceRecord): readonly SourceChange[] {
  const source = JSON.stringify(SOURCE.parse(after));
  const dropped = (before?.writeKeys ?? []).filter((key) => !after.writeKeys.includes(key));
  return [
    { kind: "put", key: sourceRecordKvKey(after.id), value: JSON.stringify(after) },
    ...after.writeKeys.map((key): SourceChange => ({ kind: "put", key: sourceKvKey(key), value: source })),
    ...dropped.map((key): SourceChange => ({ kind: "delete", key: sourceKvKey(key) })),
  ];
}

/** The record after the action; throws a VarveError for an action that makes no sense. */
export function applyAction(
  before: SourceRecord | null,
  action: Exclude<SourcesAction, { kind: "list" }>,
  newKey: () => string,
): SourceRecord {
  if (action.kind === "add") {
    const writeKeys = action.writeKey === undefined ? (before?.writeKeys ?? [newKey()]) : [action.writeKey];
    const parsed = SOURCE_RECORD.safeParse({ ...before, ...action.settings, id: action.id, writeKeys });
    if (parsed.success) return parsed.data;
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
    throw new VarveError("bad_source", message, "Write it again with `varve sources add`.", error);
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
    const keys = await store.list(sourceRecordKvKey(""));
    if (keys.length === 0) output.note(`no sources in ${where}: \`varve sources add <id>\` makes one`);
    for (const key of keys) {
      const record = parseRecord(key, await store.get(key));
      if (record !== null) await show(record, json, output);
    }
    return;
  }
  const before = parseRecord(action.id, await store.get(sourceRecordKvKey(action.id)));
  const after = applyAction(before, action, newWriteKey);
  for (const change of planChanges(before, after)) {
    if (change.kind === "put") await store.put(change.key, change.value);
    else await store.remove(change.key);
  }
  await show(after, json, output);
  output.note(known);
}
