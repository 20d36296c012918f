/** `varve verify`: is everything there, once? */
import { iso } from "../reader/range.ts";
import type { Report } from "../reader/verify.ts";
import { verify } from "../reader/verify.ts";
import { systemClock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";
import { openTable } from "./table.ts";
import type { Environment } from "./target.ts";

export type VerifyArguments = {
  readonly json: boolean;
  readonly table: boolean;
  readonly dedupeDays: number;
  /** How long the changelog may take to show what the table has, s. */
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
  try {
    const report = await verify(store, {
      ...(table === null ? {} : { table }),
      nowMs: systemClock.nowMs,
      sleep: systemClock.sleep,
      dedupeMs: args.dedupeDays * DAY_MS,
      settleMs: args.settleS * 1000,
      progress: (step, done, total) =>
        output.progress(`checking ${step}: ${done}${total === null ? "" : ` of ${total}`}`),
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
  const lines = [
    `log     version ${report.version}, ${report.commits} entries, complete up to ${iso(report.watermarkMs)}`,
    `files   ${report.files} files, ${report.rows} rows that stand for ${report.changes} changes, set checksum ${report.setsum}`,
    table === null
      ? "table   not compared"
      : `table   ${table.name}: ${table.items} items against ${table.keys} keys${table.expired > 0 ? `, ${table.expired} of them expired since` : ""}`,
    `gaps    ${report.gaps}`,
    problems.length === 0 ? "sound: nothing lost, nothing twice" : `NOT SOUND: ${problems.length} problems`,
    ...problems.map(({ what, where }) => `  ${where}${where === "" ? "" : ": "}${what}`),
  ];
  return lines.join("\n");
}
