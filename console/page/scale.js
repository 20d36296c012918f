/**
 * From a time to a place from left to right. Pure.
 *
 * `log`: by how long ago it was, so that seconds, hours and months are seen at once: a changelog has its small files
 * at the new end and its large ones at the old end.
 */

/** @typedef {{ readonly x: (ms: number) => number, readonly ticks: readonly { readonly x: number, readonly label: string }[], readonly fromMs: number }} Scale */

const SOFT_MS = 30_000;
const AGES = /** @type {const} */ ([
  [0, "now"],
  [10_000, "10 s"],
  [30_000, "30 s"],
  [60_000, "1 min"],
  [120_000, "2 min"],
  [300_000, "5 min"],
  [900_000, "15 min"],
  [3_600_000, "1 h"],
  [4 * 3_600_000, "4 h"],
  [12 * 3_600_000, "12 h"],
  [86_400_000, "1 d"],
  [3 * 86_400_000, "3 d"],
  [7 * 86_400_000, "1 wk"],
  [30 * 86_400_000, "30 d"],
  [91 * 86_400_000, "3 mo"],
  [365 * 86_400_000, "1 yr"],
  [3 * 365 * 86_400_000, "3 yr"],
]);
const TICK_WIDTH = 56;

/** @param {number} fromMs @param {number} nowMs @param {number} left @param {number} right @returns {Scale} */
export function logScale(fromMs, nowMs, left, right) {
  const oldest = Math.max(600_000, nowMs - fromMs);
  const whole = Math.log1p(oldest / SOFT_MS);
  const x = (/** @type {number} */ ms) =>
    right - (right - left) * Math.min(1, Math.log1p(Math.max(0, nowMs - ms) / SOFT_MS) / whole);
  const ticks = AGES.filter(([age]) => age <= oldest).map(([age, label]) => ({ x: x(nowMs - age), label }));
  return { x, ticks: apart(ticks), fromMs: nowMs - oldest };
}

const STEPS_MS = [
  1,
  5,
  10,
  30,
  60,
  300,
  900,
  1800,
  3600,
  3 * 3600,
  6 * 3600,
  12 * 3600,
  86_400,
  7 * 86_400,
  28 * 86_400,
].map((s) => s * 1000);

/** @param {number} fromMs @param {number} nowMs @param {number} left @param {number} right @returns {Scale} */
export function linearScale(fromMs, nowMs, left, right) {
  const length = Math.max(1, nowMs - fromMs);
  const x = (/** @type {number} */ ms) =>
    left + (right - left) * Math.min(1, Math.max(0, (ms - fromMs) / length));
  const most = Math.max(2, (right - left) / (TICK_WIDTH * 1.4));
  const step = STEPS_MS.find((one) => length / one <= most) ?? 364 * 86_400_000;
  const ticks = [{ x: x(nowMs), label: "now" }];
  for (let age = step; age <= length; age += step) ticks.push({ x: x(nowMs - age), label: spanLabel(age) });
  return { x, ticks: apart(ticks), fromMs };
}

/** @param {number} ms */
function spanLabel(ms) {
  const units = /** @type {const} */ ([
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1000, "s"],
  ]);
  const [size, unit] = units.find(([one]) => ms >= one) ?? units[3];
  return `${Number((ms / size).toFixed(1))} ${unit}`;
}

/** Without those that would touch, the newest first. @template {{ readonly x: number }} T @param {readonly T[]} ticks */
function apart(ticks) {
  /** @type {T[]} */
  const kept = [];
  for (const tick of ticks) {
    const last = kept.at(-1);
    if (last === undefined || last.x - tick.x >= TICK_WIDTH) kept.push(tick);
  }
  return kept;
}
