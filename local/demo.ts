/**
 * `npm run demo`: posts a day of a small shop through the real analytics-node to the running
 * system, waits until the changelog shows all of it, and says what changed.
 */
import { parseArgs } from "node:util";
import { Analytics } from "@segment/analytics-node";
import { openOutput, type Output } from "../cli/output.ts";
import { openTargetStore, targetEnvironment } from "../cli/target.ts";
import { openChangelog, type Changelog } from "../reader/changelog.ts";
import type { ChangeRow } from "../reader/scan.ts";
import { count, many, noun } from "../shared/amounts.ts";
import { VarveError, describeError } from "../shared/errors.ts";
import { demoCalls, type DemoCall } from "./demo-events.ts";
import { dataOption } from "./page.ts";
import { readRunning, type Running } from "./running.ts";

const BATCH = 100;
const ROUND = 500;
const VISIBLE_MS_MAX = 120_000;
const LOOK_MS = 250;

type DemoOptions = { readonly dataDir: string; readonly events: number; readonly seed: number };

async function demo(options: DemoOptions, output: Output): Promise<void> {
  const running = readRunning(options.dataDir);
  if (running === undefined) {
    throw new VarveError(
      "not_running",
      `No system runs on ${options.dataDir}.`,
      "Run `npm start` in another terminal, then this again (--data names its directory).",
    );
  }
  // The changelog of the running system, whatever the environment names.
  const store = openTargetStore(targetEnvironment({}, options.dataDir));
  try {
    const changelog = await openChangelog(store);
    const { version } = await changelog.snapshot();
    const run = crypto.randomUUID().slice(0, 8);
    const startedMs = Date.now();
    await post(running, run, options, output);
    const postedMs = Date.now();
    const seen = await waitUntilVisible(
      changelog,
      version,
      { run, events: options.events, postedMs },
      output,
    );
    const posting = ((postedMs - startedMs) / 1000).toFixed(1);
    const seconds = ((seen.visibleMs - postedMs) / 1000).toFixed(1);
    await output.line(
      `${many(options.events, "event")} accepted in ${posting} s; the last of them was in the changelog ${seconds} s later, at version ${seen.version}.`,
    );
    for (const line of describeChanges(seen.rows)) await output.line(line);
    const option = dataOption(running.dataDir);
    await output.line("");
    await output.line("More:");
    await output.line(`  npm run varve -- changes --since ${version}${option}`);
    await output.line(`  npm run varve -- changes --since 15m --collection users --json${option}`);
    await output.line(`  npm run varve -- verify${option}`);
  } finally {
    store.close();
  }
}

async function post(running: Running, run: string, options: DemoOptions, output: Output): Promise<void> {
  const analytics = new Analytics({
    writeKey: running.writeKey,
    host: running.endpoint,
    flushAt: BATCH,
    maxRetries: 10,
  });
  let lost: unknown;
  analytics.on("error", (error) => {
    lost ??= error.reason ?? error.code;
  });
  let sent = 0;
  for (const call of demoCalls(options.seed, options.events)) {
    send(analytics, call, `demo-${run}-${sent}`);
    sent++;
    if (sent % ROUND !== 0) continue;
    await analytics.flush();
    output.progress(`${count(sent)} of ${many(options.events, "event")} posted`);
  }
  await analytics.closeAndFlush();
  output.progress(`${many(sent, "event")} posted, waiting until they are committed`);
  if (lost === undefined) return;
  throw new VarveError(
    "not_accepted",
    `The endpoint did not take every event: ${describeError(lost)}.`,
    "See what `npm start` says in the other terminal.",
    lost,
  );
}

function send(analytics: Analytics, call: DemoCall, messageId: string): void {
  switch (call.type) {
    case "track":
      return analytics.track({ ...call, messageId });
    case "identify":
      return analytics.identify({ ...call, messageId });
    case "page":
      return analytics.page({ ...call, messageId });
    case "screen":
      return analytics.screen({ ...call, messageId });
    case "group":
      return analytics.group({ ...call, messageId });
    case "alias":
      return analytics.alias({ ...call, messageId });
  }
}

type Posted = { readonly run: string; readonly events: number; readonly postedMs: number };
type Seen = { readonly rows: readonly ChangeRow[]; readonly version: number; readonly visibleMs: number };

/**
 * Reads on from `version` until every event of this run has been seen, and then until the
 * watermark has passed them, for the users and accounts that the last of them changed.
 */
async function waitUntilVisible(
  changelog: Changelog,
  version: number,
  { run, events, postedMs }: Posted,
  output: Output,
): Promise<Seen> {
  const rows: ChangeRow[] = [];
  const ids = new Set<string>();
  const untilMs = postedMs + VISIBLE_MS_MAX;
  let visibleMs: number | undefined;
  let reached = version;
  for (;;) {
    const { log } = await changelog.snapshot();
    const changes = await changelog.changesSince({ kind: "version", version: reached });
    for await (const row of changes.rows) {
      if (row.kind === "event" && row.id?.startsWith(`demo-${run}-`) !== true) continue;
      rows.push(row);
      if (row.kind === "event" && row.id !== null) ids.add(row.id);
    }
    if (changes.next.kind === "version") reached = changes.next.version;
    if (ids.size === events) visibleMs ??= Date.now();
    if (visibleMs !== undefined && log.watermarkMs >= postedMs) return { rows, version: reached, visibleMs };
    output.progress(`${count(ids.size)} of ${many(events, "event")} committed`);
    if (Date.now() > untilMs) {
      throw new VarveError(
        "not_visible",
        `${count(events - ids.size)} of ${many(events, "event")} are not in the changelog after ${VISIBLE_MS_MAX / 1000} s.`,
        "See what `npm start` says of the compactor in the other terminal.",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function* describeChanges(rows: readonly ChangeRow[]): Generator<string> {
  const collections = new Map<string, { rows: number; keys: Set<string>; kind: string }>();
  for (const row of rows) {
    const name = row.collection ?? "?";
    const known = collections.get(name) ?? { rows: 0, keys: new Set<string>(), kind: row.kind ?? "?" };
    known.rows++;
    known.keys.add(row.key);
    collections.set(name, known);
  }
  yield "";
  yield "What changed:";
  const sorted = [...collections].toSorted(([, a], [, b]) => a.kind.localeCompare(b.kind) || b.rows - a.rows);
  for (const [name, { rows: rowCount, keys, kind }] of sorted) {
    const objects = kind === "object" ? `, the merged state of ${count(keys.size)} ${name}` : "";
    yield `  ${name.padEnd(12)}${count(rowCount).padStart(7)} ${noun(rowCount, "row")}${objects}`;
  }
  yield "";
  yield "The latest of each:";
  const latest = new Map<string, ChangeRow>();
  for (const row of rows.toSorted((a, b) => a.changedMs - b.changedMs || a.seq.localeCompare(b.seq))) {
    latest.set(row.collection ?? "?", row);
  }
  for (const [name] of sorted) {
    const row = latest.get(name);
    if (row !== undefined) yield describeRow(row);
  }
}

function describeRow(row: ChangeRow): string {
  const time = new Date(row.changedMs).toISOString().slice(11, 19);
  const who = row.userId ?? row.anonymousId ?? row.id ?? "";
  const what = row.event ?? summary(row.image);
  return `  ${(row.collection ?? "").padEnd(12)}${time}  ${row.op.padEnd(6)}  ${who.padEnd(18)}  ${what}`.trimEnd();
}

const SUMMARY_MAX = 70;

/** An object's properties, or an event's traits, as one short line. */
function summary(image: string | null): string {
  if (image === null) return "";
  const body = JSON.parse(image) as Record<string, unknown>;
  const values = typeof body["traits"] === "object" ? body["traits"] : body["type"] === undefined ? body : {};
  const text = Object.entries(values ?? {})
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
  return text.length > SUMMARY_MAX ? `${text.slice(0, SUMMARY_MAX - 1)}…` : text;
}

const USAGE = "Usage: npm run demo -- [--data .varve] [--events 3000] [--seed 1]";

function parseOptions(argv: readonly string[]): DemoOptions | undefined {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        data: { type: "string", default: ".varve" },
        events: { type: "string", default: "3000" },
        seed: { type: "string", default: "1" },
      },
    });
    const [events, seed] = [Number(values.events), Number(values.seed)];
    if (!Number.isInteger(events) || events < 1 || !Number.isInteger(seed)) return undefined;
    return { dataDir: values.data, events, seed };
  } catch {
    return undefined;
  }
}

const output = openOutput(process.stdout, process.stderr);
const options = parseOptions(process.argv.slice(2));
if (options === undefined) {
  output.note(USAGE);
  process.exitCode = 2;
} else {
  try {
    await demo(options, output);
  } catch (error) {
    output.note(describeError(error));
    process.exitCode = 1;
  }
}
