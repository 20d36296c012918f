/**
 * Times as SDKs write them: ISO 8601 with 0-9 digits of a second, any offset, `T` or a space; or a number
 * of seconds or milliseconds. A time without a zone is UTC.
 */
import { isRawNumber } from "./json.ts";

const CANONICAL = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const ISO =
  /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9})\d*)?\s?([Zz]|[+-]\d\d(?::?\d\d)?)?)?$/;

/** Below this a number is seconds (it is the year 5138 in seconds, 1973 in milliseconds). */
const SECONDS_MAX = 1e11;

function offset(zone: string | undefined): string {
  if (zone === undefined || zone === "Z" || zone === "z") return "Z";
  const digits = zone.replace(":", "");
  return `${digits.slice(0, 3)}:${digits.length > 3 ? digits.slice(3) : "00"}`;
}

/** The minute that was read last: a batch's events mostly share it, and reading one whole is dear. */
let lastMinute = "1970-01-01T00:00";
let lastMinuteMs = 0;

/** The digit at `at`, or NaN. */
function digitAt(text: string, at: number): number {
  const digit = text.charCodeAt(at) - 48;
  return digit >= 0 && digit <= 9 ? digit : Number.NaN;
}

/** Of `YYYY-MM-DDTHH:MM:SS.sssZ`; null when it is not that, or no time. */
function canonicalMs(text: string): number | null {
  if (text.length !== 24) return null;
  if (!text.startsWith(lastMinute)) {
    const minute = text.slice(0, 16);
    const ms = CANONICAL.test(text) ? Date.parse(`${minute}:00.000Z`) : Number.NaN;
    // Date.parse takes 30 February for 2 March, and 24:00 for the next day's beginning.
    if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(minute)) return null;
    lastMinute = minute;
    lastMinuteMs = ms;
  }
  if (text[16] !== ":" || text[19] !== "." || text[23] !== "Z") return null;
  const seconds = digitAt(text, 17) * 10 + digitAt(text, 18);
  const ms = digitAt(text, 20) * 100 + digitAt(text, 21) * 10 + digitAt(text, 22);
  const total = lastMinuteMs + seconds * 1000 + ms;
  return seconds > 59 || Number.isNaN(total) ? null : total;
}

/** Milliseconds since the epoch, UTC; null when `value` is no time. */
export function parseTimeMs(value: unknown): number | null {
  if (isRawNumber(value)) return parseTimeMs(Number(value.rawJSON));
  if (typeof value === "number") {
    if (!Number.isFinite(value) || value <= 0) return null;
    return Math.trunc(value < SECONDS_MAX ? value * 1000 : value);
  }
  if (typeof value !== "string") return null;
  const canonical = canonicalMs(value);
  if (canonical !== null) return canonical;
  const match = ISO.exec(value.trim());
  if (match === null) return null;
  const [, date, clock, fraction, zone] = match;
  const fullClock = clock === undefined ? "00:00:00" : clock.length === 5 ? `${clock}:00` : clock;
  const ms = Date.parse(`${date}T${fullClock}.${(fraction ?? "").slice(0, 3).padEnd(3, "0")}${offset(zone)}`);
  return Number.isNaN(ms) ? null : ms;
}

export type EventTimes = {
  readonly timestampMs: number;
  /** The time as sent, where that is ISO 8601 as Date writes it and needs no correction. */
  readonly asSent: string | null;
  /** What was odd about the times as sent, for the reader to judge. */
  readonly flags: readonly string[];
};

/** An event may lie this far after its receipt: time zones wrongly told, and no more. */
const FUTURE_MAX_MS = 24 * 3600_000;

/**
 * Segment's rule: `timestamp = receivedAt - (sentAt - originalTimestamp)`, which corrects a client's clock
 * and, as a price, moves each event by its network delay; so it is applied only when the skew exceeds
 * `skewMaxMs`. `sentMs` is null where the client did not say. A time that is absurd (unreadable, before 1970,
 * or in the future) is replaced by the receipt.
 */
export function eventTimes(
  original: unknown,
  sentMs: number | null,
  receivedAtMs: number,
  skewMaxMs: number,
): EventTimes {
  if (original === undefined || original === null)
    return { timestampMs: receivedAtMs, asSent: null, flags: NO_FLAGS };
  const canonical = typeof original === "string" ? canonicalMs(original) : null;
  const originalMs = canonical ?? parseTimeMs(original);
  if (originalMs === null)
    return { timestampMs: receivedAtMs, asSent: null, flags: ["timestamp_unreadable"] };
  // Before 1970 it is a time that was never set, as Go writes it, and says nothing of a clock.
  const skewed = sentMs !== null && sentMs >= 0 && Math.abs(receivedAtMs - sentMs) > skewMaxMs;
  const timestampMs = skewed ? receivedAtMs - (sentMs - originalMs) : originalMs;
  if (timestampMs < 0) return { timestampMs: receivedAtMs, asSent: null, flags: ["timestamp_before_1970"] };
  if (timestampMs > receivedAtMs + FUTURE_MAX_MS) {
    return { timestampMs: receivedAtMs, asSent: null, flags: ["timestamp_in_future"] };
  }
  if (skewed) return { timestampMs, asSent: null, flags: SKEWED };
  return { timestampMs, asSent: canonical === null ? null : (original as string), flags: NO_FLAGS };
}

const NO_FLAGS: readonly string[] = [];
const SKEWED: readonly string[] = ["clock_skew_corrected"];
