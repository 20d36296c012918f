/**
 * A shard's position: how far its changes are committed. It stands in the commit itself, as the
 * domainMetadata `varve.shard.<shard id>`, and nowhere else.
 */
import { z } from "zod";
import type { DomainMetadata } from "./delta.ts";
import type { SequenceNumber } from "./sequence.ts";
import { parseSequence } from "./sequence.ts";

export const SHARD_DOMAIN = "varve.shard.";

/** The `stream` of the segments of a bootstrap scan: they hold the watermark as shards do, and are read by nobody. */
export const BOOTSTRAP_STREAM = "bootstrap";

const SEQUENCE = z
  .string()
  .nullable()
  .transform((value, context): SequenceNumber | null => {
    if (value === null) return null;
    const sequence = parseSequence(value);
    if (sequence !== null) return sequence;
    context.addIssue("not a sequence number");
    return z.NEVER;
  });

const POSITION = z.object({
  /** The position before this commit: what the batch was read from. */
  from: SEQUENCE,
  /** The last sequence number committed. Null: nothing yet, read from TRIM_HORIZON. */
  seq: SEQUENCE,
  /** The shard's watermark: every change of it up to here is in. UTC ms. */
  at: z.number().int(),
  /** The greatest `changed_ms` of its rows and of those before it: later ones are not below. Absent: `at`. */
  changed: z.number().int().optional(),
  parent: z.string().nullable(),
  /** Read to its end. Its children may be read. */
  done: z.boolean(),
  /** When the end was read. Absent: at `at`, if it is done. UTC ms. */
  ended: z.number().int().optional(),
  /** The stream's ARN. */
  stream: z.string(),
  /** Of a bootstrap segment: where its scan goes on, a key in DynamoDB JSON. */
  cursor: z.string().optional(),
});

export type Position = Readonly<z.infer<typeof POSITION>>;

export const lastChangedMs = ({ at, changed }: Position): number => Math.max(at, changed ?? at);
export const endedMs = ({ at, ended }: Position): number => ended ?? at;

export const encodePosition = (shard: string, position: Position): DomainMetadata => ({
  domain: SHARD_DOMAIN + shard,
  configuration: JSON.stringify({
    ...position,
    changed: lastChangedMs(position) > position.at ? position.changed : undefined,
  }),
  removed: false,
});

/** Null when the text is not a position. */
export function parsePosition(configuration: string): Position | null {
  try {
    return POSITION.parse(JSON.parse(configuration));
  } catch {
    return null;
  }
}
