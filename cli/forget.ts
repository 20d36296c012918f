/**
 * `varve forget`: takes a user out of the table and out of the changelog, and proves it by reading both again.
 *
 * The items go first; their deletes run through the changelog like any change, so consumers learn of them. Once
 * they are in, every file that has rows of the user is written anew without them.
 */
import { many } from "../shared/amounts.ts";
import type { Clock } from "../shared/clock.ts";
import { systemClock } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import { objectPk, SOURCE_ID } from "../shared/item.ts";
import { loadSnapshot } from "../shared/log.ts";
import type { ObjectStore } from "../shared/store.ts";
import { openItems } from "./forget/items.ts";
import type { Items } from "./forget/items.ts";
import type { Person } from "./forget/person.ts";
import { dropRows, findAnonymousIds, findRows } from "./forget/rows.ts";
import type { Output } from "./output.ts";
import { openProgress } from "./progress.ts";
import type { Environment } from "./target.ts";

export type ForgetArguments = {
  readonly source: string;
  readonly user: string;
  /** Also events without a user's id whose anonymous id was seen with this user alone. */
  readonly withAnonymous: boolean;
  /** Also the deletes of the user's record, which name its id. Consumers that have not read them keep theirs. */
  readonly dropDeletes: boolean;
  /** Delete replaced files now, not with the log's retention. Readers that are behind may miss them. */
  readonly purge: boolean;
  /** Read the whole table, however large. */
  readonly scanTable: boolean;
  /** Without it nothing is changed. */
  readonly yes: boolean;
  readonly settleS: number;
  readonly json: boolean;
};

export type Forgotten = {
  readonly done: boolean;
  readonly items: { readonly found: number; readonly deleted: number; readonly left: number };
  readonly rows: { readonly found: number; readonly dropped: number; readonly left: number };
  readonly files: { readonly read: number; readonly replaced: number; readonly purged: number };
  readonly anonymousIds: number;
  /** Deletes that name the user's id and stay, for consumers to follow. */
  readonly deletesKept: number;
  readonly tableScanned: boolean;
};

/** A table up to this size is read whole without being asked for: some 60 cents. */
const SCAN_BYTES_MAX = 10e9;
const SETTLE_POLL_MS = 250;

/** True when it is proven that nothing is left. */
export async function forgetCommand(
  store: ObjectStore,
  environment: Environment,
  args: ForgetArguments,
  output: Output,
): Promise<boolean> {
  if (!SOURCE_ID.safeParse(args.source).success) {
    throw new VarveError(
      "bad_source",
      `${JSON.stringify(args.source)} is not a source's id.`,
      "`varve sources list` shows them.",
    );
  }
  const items = await openItems(environment, systemClock);
  try {
    const forgotten = await forget(store, items, systemClock, args, output);
    output.progress("");
    await output.line(args.json ? JSON.stringify(forgotten) : forgottenText(forgotten, args));
    return !args.yes || forgotten.done;
  } finally {
    items.close();
  }
}

export async function forget(
  store: ObjectStore,
  items: Items,
  clock: Clock,
  args: ForgetArguments,
  output: Output,
): Promise<Forgotten> {
  const progress = openProgress(output, clock);
  const step = (what: string) => (done: number, total: number) => progress(what, done, total);
  const alone: Person = { source: args.source, userId: args.user, anonymousIds: [] };
  const anonymousIds = args.withAnonymous
    ? await findAnonymousIds(store, alone, step("looking for anonymous ids in files"))
    : [];
  const person: Person = { ...alone, anonymousIds };
  const scanned = args.scanTable || (await items.sizeBytes()) <= SCAN_BYTES_MAX;
  const scan = (): Promise<readonly string[]> =>
    scanned ? items.scan(person, (count) => progress("reading the table", count, null)) : Promise.resolve([]);

  const found = await findRows(store, person, args.dropDeletes, step("reading files"));
  const record = JSON.stringify({ pk: objectPk(args.source, "users", args.user) });
  const known = new Set([...found.keys, ...(await scan()), record]);
  const present = await items.present([...known]);
  const counts = { anonymousIds: anonymousIds.length, tableScanned: scanned };
  if (!args.yes) {
    return {
      ...counts,
      done: false,
      items: { found: present.length, deleted: 0, left: present.length },
      rows: { found: found.rows, dropped: 0, left: found.rows },
      files: { read: found.filesRead, replaced: 0, purged: 0 },
      deletesKept: found.deletes,
    };
  }

  await items.remove(present, step("deleting items"));
  await settle(store, clock, args.settleS * 1000, output);
  const dropped = await dropRows(store, clock, person, args.dropDeletes, step("rewriting files"));
  const purged = args.purge ? dropped.replaced : [];
  for (const path of purged) await store.delete(path);

  const left = await findRows(store, person, args.dropDeletes, step("proving: reading files"));
  const itemsLeft = new Set([...(await scan()), ...(await items.present([...known, ...left.keys]))]);
  return {
    ...counts,
    done: left.rows === 0 && itemsLeft.size === 0,
    items: { found: present.length, deleted: present.length, left: itemsLeft.size },
    rows: { found: found.rows, dropped: dropped.rows, left: left.rows },
    files: { read: left.filesRead, replaced: dropped.replaced.length, purged: purged.length },
    deletesKept: left.deletes,
  };
}

/** Until everything up to now is in the changelog: rows of the user that are on their way must not come after. */
async function settle(store: ObjectStore, clock: Clock, settleMs: number, output: Output): Promise<void> {
  const nowMs = clock.nowMs();
  for (;;) {
    const snapshot = await loadSnapshot(store);
    const behindMs = nowMs - (snapshot?.log.watermarkMs ?? 0);
    if (behindMs < 0) return;
    if (clock.nowMs() - nowMs > settleMs) {
      throw new VarveError(
        "not_settled",
        `the items are deleted, but the changelog is ${Math.round(behindMs / 1000)} s behind: their last rows may still come.`,
        "See that a compactor runs, then run this again; --settle gives it longer.",
      );
    }
    output.progress(`waiting for the changelog: ${Math.round(behindMs / 1000)} s behind`);
    await clock.sleep(SETTLE_POLL_MS);
  }
}

function forgottenText(forgotten: Forgotten, args: ForgetArguments): string {
  const { items, rows, files, deletesKept } = forgotten;
  if (!args.yes) {
    return [
      `items   ${items.found} in the table`,
      `rows    ${rows.found}, in ${many(files.read, "file")} read`,
      ...(args.withAnonymous
        ? [`        anonymous ids that are this user's alone: ${forgotten.anonymousIds}`]
        : []),
      "Nothing was changed. Add --yes to delete them for good.",
    ].join("\n");
  }
  return [
    `items   ${items.deleted} deleted, ${items.left} left${forgotten.tableScanned ? " (the whole table was read)" : " (by key; --scan-table reads the whole table)"}`,
    `rows    ${rows.dropped} dropped, ${rows.left} left in ${many(files.read, "file")} read again`,
    `files   ${files.replaced} replaced, ${files.purged === files.replaced ? "and deleted" : "deleted by the compactor once VARVE_LOG_RETENTION has passed (--purge: now)"}`,
    ...(deletesKept > 0
      ? [
          `deletes ${deletesKept} that name the user's id stay, so that consumers delete theirs (--drop-deletes takes them out later)`,
        ]
      : []),
    forgotten.done ? "forgotten: nothing of this user is left" : "NOT FORGOTTEN: run it again",
  ].join("\n");
}
