/** How far long work is: a bar, the pace, and the time left. */
import { count } from "../shared/amounts.ts";
import type { Clock } from "../shared/clock.ts";
import type { Output } from "./output.ts";

const BAR_WIDTH = 24;

/** Reports one step after the other; the pace is that of the step. `total` null: nobody knows. */
export type Progress = (step: string, done: number, total: number | null) => void;

export function openProgress(output: Output, clock: Pick<Clock, "nowMs">): Progress {
  let current: string | null = null;
  let [beganMs, doneBefore] = [0, 0];
  return (step, done, total) => {
    if (step !== current) [current, beganMs, doneBefore] = [step, clock.nowMs(), done];
    const seconds = (clock.nowMs() - beganMs) / 1000;
    output.progress(progressText(step, done, total, seconds > 0 ? (done - doneBefore) / seconds : 0));
  };
}

/** `checking files  [############------------]  50%  1,200 of 2,400, 61/s, 0:20 left` */
export function progressText(step: string, done: number, total: number | null, aSecond: number): string {
  const pace =
    aSecond > 0 ? `, ${count(aSecond < 10 ? Number(aSecond.toFixed(1)) : Math.round(aSecond))}/s` : "";
  if (total === null || total <= 0 || done > total) return `${step}  ${count(done)}${pace}`;
  const part = done / total;
  const filled = Math.floor(part * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const left = aSecond > 0 && done < total ? `, ${minutes((total - done) / aSecond)} left` : "";
  const percent = String(Math.floor(part * 100)).padStart(3);
  return `${step}  [${bar}] ${percent}%  ${count(done)} of ${count(total)}${pace}${left}`;
}

function minutes(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, rest] = [Math.floor(whole / 3600), whole % 3600];
  const text = `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")}`;
  return hours > 0 ? `${hours}:${text.padStart(5, "0")}` : text;
}
