/** `varve verify`: is everything there, once? */
import { completeUpTo } from "../reader/range.ts";
import type { Problem, ProblemKind, Report, TableReport } from "../reader/verify.ts";
import { verify } from "../reader/verify.ts";
import { count, many } from "../shared/amounts.ts";
import { systemClock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";
import { painted } from "./output.ts";
import { openProgress } from "./progress.ts";
import { openTable } from "./table.ts";
import type { Environment } from "./target.ts";

export type VerifyArguments = {
  readonly json: boolean;
  readonly table: boolean;
  /** Compare about this many keys with the table, instead of all. */
  readonly sample?: number;
  readonly dedupeDays: number;
  /** How long a changelog that is behind the table is waited for, s. */
  readonly settleS: number;
};

const DAY_MS = 86_400_000;

/** True when nothing is wrong. */
export async function verifyCommand(
  store: ObjectStore,
  environment: Environment,
  args: VerifyArguments,
  output: Output,
): Promise<boolean> {
  const table = args.table ? await openTable(environment) : null;
  const progress = openProgress(output, systemClock);
  try {
    const report = await verify(store, {
      ...(table === null ? {} : { table }),
      nowMs: systemClock.nowMs,
      sleep: systemClock.sleep,
      dedupeMs: args.dedupeDays * DAY_MS,
      settleMs: args.settleS * 1000,
      sample: args.sample,
      progress: (step, done, total) => progress(`checking ${step}`, done, total),
    });
    output.progress("");
    await output.line(args.json ? JSON.stringify(report) : reportText(report));
    return report.problems.length === 0;
  } finally {
    table?.close();
  }
}

function reportText(report: Report): string {
  const { table, problems } = report;
  const from = report.fromCheckpoint === null ? "its start" : `checkpoint ${report.fromCheckpoint}`;
  const gone = [
    report.superseded > 0 ? `${count(report.superseded)} superseded` : "",
    report.expired > 0 ? `${count(report.expired)} expired` : "",
    report.forgotten > 0 ? `${count(report.forgotten)} forgotten` : "",
  ].filter((part) => part !== "");
  const lines = [
    line(
      ["log_entry", "totals"],
      "log",
      `version ${report.version}, ${many(report.commits, "entry", "entries")} from ${from}, ${completeUpTo(report.watermarkMs)}`,
    ),
    line(["checkpoint"], "checkpoints", `${report.checkpoints} compared with the entries`),
    line(
      ["file_missing", "file_damaged"],
      "files",
      `${many(report.files, "file")}, ${many(report.bytes, "byte")}, each against its checksum`,
    ),
    line(
      ["rows", "row_doubled"],
      "rows",
      `${count(report.rows)} that stand for ${many(report.changes, "change")}${gone.length > 0 ? `; ${gone.join(", ")}` : ""}; set checksum ${report.setsum}`,
    ),
    table === null
      ? "-     table        not compared"
      : line(["table", "table_ahead"], "table", tableText(table)),
    `${report.gaps === 0 ? painted("green", "ok   ") : painted("yellow", "GAPS ")} gaps         ${report.gaps}`,
    "",
    verdict(report),
    ...problems.map(({ kind, what, where }) => `  ${kind}  ${where}${where === "" ? "" : ": "}${what}`),
  ];
  return lines.join("\n");

  function line(kinds: readonly ProblemKind[], what: string, figures: string): string {
    const wrong = problems.filter(({ kind }) => kinds.includes(kind));
    const mark =
      wrong.length === 0
        ? painted("green", "ok   ")
        : isOnlyBehind(wrong)
          ? painted("yellow", "LATE ")
          : painted("red", "WRONG");
    return `${mark} ${what.padEnd(12)} ${figures}`;
  }
}

const isOnlyBehind = (problems: readonly Problem[]): boolean =>
  problems.every(({ kind }) => kind === "table_ahead");

/** The report in one line. */
export function verdict({ problems, gaps }: Pick<Report, "problems" | "gaps">): string {
  if (problems.length > 0 && isOnlyBehind(problems))
    return painted(
      "yellow",
      "NOT KNOWN YET: the changelog is behind the table. `varve status` says whether it moves: then run this again",
    );
  if (problems.length > 0)
    return painted(
      "red",
      `NOT SOUND: ${many(problems.length, "problem")}. What to do: docs/operations.md, Restoring`,
    );
  return gaps > 0
    ? painted(
        "yellow",
        `sound but for ${many(gaps, "gap")}, where changes were lost: \`varve files\` names them`,
      )
    : painted("green", "sound: nothing lost, nothing twice");
}

function tableText({ name, items, keys, sampled, expired, beyondRetention }: TableReport): string {
  const parts = [
    sampled === null
      ? `${name}: ${many(items, "item")} against ${many(keys, "key")}`
      : `${name}: a sample of ${many(sampled, "key")} of ${count(keys)}, ${many(items, "item")}`,
    expired > 0 ? `${expired} of the keys expired in the table since` : "",
    beyondRetention > 0 ? `${many(beyondRetention, "item")} changed before what the changelog keeps` : "",
  ];
  return parts.filter((part) => part !== "").join("; ");
}
