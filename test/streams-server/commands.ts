/** What a test tells the server: changes to the streams, and what is to go wrong. */
import { z } from "zod";
import { FAULTS } from "./wire.ts";

const table = z.string();
const shard = z.string().optional();
const count = z.number().int();

export const Command = z.discriminatedUnion("do", [
  z.object({ do: z.literal("create"), table, shards: count }),
  /** Ended shards that hold so many events in all, each of some 600 bytes and its text. */
  z.object({
    do: z.literal("backlog"),
    table,
    shards: count,
    records: count,
    textBytes: count.optional(),
  }),
  /** Items of the simulation's workload. */
  z.object({ do: z.literal("write"), table, count }),
  z.object({ do: z.literal("end"), table, children: count, shard }),
  z.object({ do: z.literal("rotateAll"), table }),
  z.object({ do: z.literal("switchOff"), table }),
  z.object({ do: z.literal("switchOn"), table, shards: count }),
  z.object({ do: z.literal("trim"), table, keep: count, shard }),
  z.object({ do: z.literal("drop"), shard: z.string() }),
  z.object({ do: z.literal("expireIterators") }),
  z.object({ do: z.literal("lag"), maxMs: z.number() }),
  z.object({ do: z.literal("pageMax"), records: count }),
  /** So many `times`, or with a probability (`rate`) until it is calm again. */
  z.object({
    do: z.literal("fault"),
    kind: z.enum(FAULTS),
    operation: z.string().optional(),
    shard,
    times: count.optional(),
    rate: z.number().optional(),
    /** How late a slow answer comes. */
    ms: z.number().optional(),
  }),
  z.object({ do: z.literal("calm") }),
  /** Calls past so many in any second are throttled. */
  z.object({ do: z.literal("limit"), operation: z.string(), perSecond: count }),
]);
export type Command = z.infer<typeof Command>;

export type ShardState = {
  readonly id: string;
  readonly parent: string | null;
  readonly arn: string;
  readonly last: string | null;
  readonly closed: boolean;
  readonly gone: boolean;
};
export type State = {
  readonly calls: Readonly<Record<string, number>>;
  readonly shards: readonly ShardState[];
};
