/** The processor's time, and a process's share of the cores. Linux only. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** What a process's threads ran so far, from the scheduler's own count in ns: /proc/<pid>/stat has only hundredths of a second. */
export function cpuMsOf(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return ns / 1e6;
}

/** Holds all threads of a process, and those it will start, to the first so many cores. */
export function hold(pid: number, cores: number): void {
  const args = ["--all-tasks", "--pid", "--cpu-list", `0-${cores - 1}`, String(pid)];
  execFileSync("taskset", args, { stdio: "ignore" });
}
