/** `varve status`: how the running system stands, read from the changelog alone. */
import { openChangelog } from "../reader/changelog.ts";
import { iso } from "../reader/range.ts";
import { bytesText, count, many, secondsText } from "../shared/amounts.ts";
import type { Commit } from "../shared/delta.ts";
import { WORKERS_DIR, parseWorkerKey } from "../shared/keys.ts";
import { readCommit } from "../shared/log.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVELS } from "../shared/window.ts";
import type { Output } from "./output.ts";
import { painted } from "./output.ts";

/** As the alert has it. */
const LATE_S = 900;
const RECENT_COMMITS = 20;
/** Workers show that they live every 8 s. */
const WORKER_DEAD_MS = 20_000;

export async function statusCommand(
  store: ObjectStore,
  root: string,
  json: boolean,
  output: Output,
  nowMs: number,
): Promise<void> {
  const changelog = await openChangelog(store);
  const { version, log, files, shards, gaps, live } = await changelog.snapshot();
  const recent = await recentCommits(store, version);
  const workers: string[] = [];
  let beatMs = 0;
  for await (const { key, modifiedMs } of store.list(WORKERS_DIR)) {
    const worker = parseWorkerKey(key);
    if (worker === null) continue;
    beatMs = Math.max(beatMs, modifiedMs);
    if (nowMs - modifiedMs < WORKER_DEAD_MS) workers.push(worker);
  }
  const open = [...shards.values()].filter(({ done }) => !done);
  const levels = LEVELS.map((level) => {
    const ofLevel = [...files.values()].filter((file) => file.level === level);
    return { level, files: ofLevel.length, bytes: ofLevel.reduce((sum, file) => sum + file.sizeBytes, 0) };
  });
  const rows = recent.reduce((sum, { info }) => sum + rowsOf(info), 0);
  const spanMs = Math.max(1, nowMs - (recent[0]?.info.inCommitTimestamp ?? nowMs));
  const report = {
    changelog: root,
    version,
    committed_at: iso(log.committedMs),
    watermark: log.watermarkMs === 0 ? null : iso(log.watermarkMs),
    watermark_lag_seconds: log.watermarkMs === 0 ? null : Math.max(0, (nowMs - log.watermarkMs) / 1000),
    rows_per_second: Math.round((rows * 1000) / spanMs),
    rows_live: live.rows,
    rows_committed: log.committed.rows,
    levels,
    shards: { open: open.length, done: shards.size - open.length },
    furthest_behind_seconds: furthestBehindS(
      open.map(({ at }) => at),
      nowMs,
    ),
    workers,
    last_worker_seen: beatMs === 0 ? null : iso(beatMs),
    gaps: gaps.size,
  };
  await output.line(json ? JSON.stringify(report) : reportText(report));
}

type StatusReport = {
  readonly changelog: string;
  readonly version: number;
  readonly committed_at: string;
  readonly watermark: string | null;
  readonly watermark_lag_seconds: number | null;
  readonly rows_per_second: number;
  readonly rows_live: number;
  readonly rows_committed: number;
  readonly levels: readonly { readonly level: number; readonly files: number; readonly bytes: number }[];
  readonly shards: { readonly open: number; readonly done: number };
  /** Null while an open shard has not been read at all. */
  readonly furthest_behind_seconds: number | null;
  readonly workers: readonly string[];
  /** By the store's clock. */
  readonly last_worker_seen: string | null;
  readonly gaps: number;
};

function reportText(report: StatusReport): string {
  const { watermark_lag_seconds: lag, furthest_behind_seconds: furthest } = report;
  const levels = report.levels.map(
    ({ level, files, bytes }) => `level ${level}: ${many(files, "file")}, ${bytesText(bytes)}`,
  );
  return [
    `changelog  ${report.changelog}`,
    `version    ${report.version}, committed ${report.committed_at}`,
    `watermark  ${report.watermark ?? "none yet"}${lag === null ? "" : `, ${behindText(lag)}`}`,
    `rows       ${count(report.rows_live)} live of ${count(report.rows_committed)} committed, ${count(report.rows_per_second)} a second lately`,
    ...levels.map((text, index) => (index === 0 ? "files" : "").padEnd(11) + text),
    `shards     ${report.shards.open} open, the furthest ${furthest === null ? "not read yet" : `${secondsText(furthest)} behind`}; ${report.shards.done} done`,
    `workers    ${report.workers.length === 0 ? painted("red", noWorkers(report)) : report.workers.join(", ")}`,
    `gaps       ${report.gaps === 0 ? "0" : painted("yellow", `${report.gaps}: \`varve files\` names them`)}`,
  ].join("\n");
}

const behindText = (seconds: number): string =>
  seconds > LATE_S
    ? painted("yellow", `${secondsText(seconds)} behind: docs/alerts.md, VarveWatermarkBehind`)
    : `${secondsText(seconds)} behind`;

/** With the time of the last: this machine's clock may be wrong. */
const noWorkers = ({ last_worker_seen: last }: StatusReport): string =>
  `none alive${last === null ? "" : `, the last was seen at ${last}`}: start \`varve compactor\``;

const furthestBehindS = (atMs: readonly number[], nowMs: number): number | null =>
  atMs.includes(0) ? null : Math.max(0, ...atMs.map((ms) => (nowMs - ms) / 1000));

async function recentCommits(store: ObjectStore, version: number): Promise<Commit[]> {
  const first = Math.max(0, version - RECENT_COMMITS + 1);
  const versions = Array.from({ length: version - first + 1 }, (_, index) => first + index);
  const commits = await Promise.all(versions.map((one) => readCommit(store, one)));
  return commits.filter((commit) => commit !== null);
}

function rowsOf(info: Commit["info"]): number {
  if (info.operation !== "WRITE") return 0;
  const metrics = info["operationMetrics"] as { readonly numOutputRows?: string } | undefined;
  return Number(metrics?.numOutputRows ?? 0);
}
