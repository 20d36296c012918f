/** Numbers and times for people. Pure. */

const NONE = "–";

/** @param {number | null | undefined} value */
export const count = (value) =>
  value === null || value === undefined ? NONE : Math.round(value).toLocaleString("en-US");

/** Three digits, and a unit: `1.23M`. @param {number | null | undefined} value */
export function short(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["", "k", "M", "G", "T"];
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${Number(scaled.toPrecision(3))}${units[unit]}`;
}

/** A second. @param {number | null | undefined} value */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return value < 100 ? String(Number(value.toFixed(value < 10 ? 1 : 0))) : short(value);
}

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let scaled = value;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${Number(scaled.toPrecision(3))} ${units[unit]}`;
}

const SPANS = /** @type {const} */ ([
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
]);

/** `850 ms`, `2.4 s`, `4 min 10 s`, `3 h 5 min`. @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))} s`;
  const at = SPANS.findIndex(([one]) => ms >= one);
  const [size, unit] = SPANS[at] ?? SPANS[3];
  const [next, nextUnit] = SPANS[at + 1] ?? SPANS[3];
  const whole = Math.floor(ms / size);
  const rest = Math.floor((ms - whole * size) / next);
  return rest === 0 || whole >= 100 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${nextUnit}`;
}

/** Round: `5 min`. @param {number} ms */
export function span(ms) {
  const [size, unit] = SPANS.find(([one]) => ms >= one) ?? SPANS[3];
  return `${Number((ms / size).toFixed(1))} ${unit}`;
}

/** @param {number} value */
export function usd(value) {
  if (value === 0) return "$0";
  if (value < 0.005)
    return value < 0.000_001
      ? "under $0.000001"
      : `$${value.toFixed(Math.min(6, 1 - Math.floor(Math.log10(value)))).replace(/0+$/, "")}`;
  const digits = value < 1000 ? 2 : 0;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** @param {number} low @param {number} high */
export const usdRange = (low, high) => (usd(low) === usd(high) ? usd(high) : `${usd(low)} – ${usd(high)}`);

/** @param {number} value @param {number} [width] */
const pad = (value, width = 2) => String(value).padStart(width, "0");

/** Local time of day, to the second. @param {number} ms */
export function clock(ms) {
  const date = new Date(ms);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** Local date and time, to the minute. @param {number} ms */
export function moment(ms) {
  const date = new Date(ms);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** The part of a shard's id that tells it from others. @param {string} id */
export function shardName(id) {
  const tail = /^shardId-\d+-([0-9a-z]+)$/i.exec(id)?.[1];
  return tail ?? (id.length > 16 ? `…${id.slice(-14)}` : id);
}

/** @param {number} value @param {string} one @param {string} [more] */
export const many = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;
