/**
 * What is under way in this isolate, so that it sheds what it could not hold.
 *
 * A request is a lease and not a count: when its client goes, the platform stops its code where it stands,
 * `finally` included, and a count would never come down again.
 */
export type LoadLimits = {
  /** Past these more at once only makes each later: an isolate has one thread. */
  readonly requestsMax: number;
  /** An isolate has 128 MB, and a body is in it as bytes, text, values and items. */
  readonly bytesMax: number;
  /** Longer than any request takes to receive, and again to store. */
  readonly leaseMs: number;
};

export const LOAD_LIMITS: LoadLimits = {
  requestsMax: 128,
  bytesMax: 12 * 1024 * 1024,
  leaseMs: 30_000,
};

export type Lease = {
  /** Counts the request for so many bytes instead, and begins anew; false when it is too much. */
  readonly hold: (bytes: number, nowMs: number) => boolean;
  readonly release: () => void;
};

export type Load = {
  /** Null when the isolate is full. */
  readonly take: (bytes: number, nowMs: number) => Lease | null;
};

type Entry = { bytes: number; untilMs: number };

export function createLoad(limits: LoadLimits): Load {
  const entries = new Set<Entry>();
  let bytesHeld = 0;

  function drop(entry: Entry): void {
    if (entries.delete(entry)) bytesHeld -= entry.bytes;
  }
  function add(entry: Entry): void {
    entries.add(entry);
    bytesHeld += entry.bytes;
  }
  /** Leases end in the order in which they were added. */
  function dropEnded(nowMs: number): void {
    for (const entry of entries) {
      if (entry.untilMs > nowMs) return;
      drop(entry);
    }
  }
  return {
    take(bytes, nowMs) {
      dropEnded(nowMs);
      if (entries.size >= limits.requestsMax || bytesHeld + bytes > limits.bytesMax) return null;
      const entry: Entry = { bytes, untilMs: nowMs + limits.leaseMs };
      add(entry);
      return {
        hold(bytesNow, heldAtMs) {
          // It may have ended: a client may take as long as it likes to send.
          drop(entry);
          entry.bytes = bytesNow;
          entry.untilMs = heldAtMs + limits.leaseMs;
          add(entry);
          return bytesHeld <= limits.bytesMax;
        },
        release: () => drop(entry),
      };
    },
  };
}
