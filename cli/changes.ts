/** `varve changes`: what changed since T. */
import { openChangelog } from "../reader/changelog.ts";
import { describeSince } from "../reader/changelog.ts";
import { iso, parseSince } from "../reader/range.ts";
import type { ChangeRow } from "../reader/scan.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";

export type ChangesArguments = {
  readonly since: string;
  readonly until?: string | undefined;
  readonly collection?: string | undefined;
  readonly source?: string | undefined;
  readonly json: boolean;
};

export async function changesCommand(
  store: ObjectStore,
  args: ChangesArguments,
  output: Output,
  nowMs: number,
): Promise<void> {
  const since = parseSince(args.since, nowMs);
  const until = args.until === undefined ? {} : { until: parseSince(args.until, nowMs) };
  const changelog = await openChangelog(store);
  const filter = { collection: args.collection, source: args.source };
  const { rows, next, counts } = await changelog.changesSince(since, { ...until, ...filter });
  let count = 0;
  if (!args.json) await output.line(TEXT_HEADER);
  for await (const row of rows) {
    count += 1;
    await output.line(args.json ? rowJson(row) : rowText(row));
  }
  const { live, read } = counts;
  output.note(`${count} rows in (${describeSince(since)}, ${describeSince(next)}]`);
  output.note(`read ${read.files} of ${live.files} files, ${read.bytes} of ${live.bytes} bytes`);
  output.note(`next: --since ${describeSince(next)}`);
}

/** One JSON object a line, columns as in the files; `image` is JSON, its number text as it was. */
export function rowJson(row: ChangeRow): string {
  const { image, key, changedMs, eventMs, userId, anonymousId, ...rest } = row;
  const columns = JSON.stringify({
    changed_at: iso(changedMs),
    changed_ms: changedMs,
    ...rest,
    user_id: userId,
    anonymous_id: anonymousId,
    event_at: eventMs === null ? null : iso(eventMs),
  });
  return `${columns.slice(0, -1)},"key":${key},"image":${image ?? "null"}}`;
}

const TEXT_HEADER = `${"CHANGED AT".padEnd(24)}  ${"OP".padEnd(6)}  ${"COLLECTION".padEnd(12)}  ${"ID".padEnd(40)}  WHAT`;

function rowText(row: ChangeRow): string {
  const what = row.event ?? row.image ?? "";
  const id = row.id ?? row.key;
  return [
    iso(row.changedMs),
    row.op.padEnd(6),
    (row.collection ?? "-").padEnd(12),
    id.padEnd(40),
    what.length > 60 ? `${what.slice(0, 59)}…` : what,
  ].join("  ");
}
