/** What the sources do: events, sent again at times, and objects that are merged and deleted. */
import { eventPk, objectPk } from "../../shared/item.ts";
import type { Op } from "../../shared/row.ts";
import type { Random } from "../fakes/random.ts";
import type { FakeStreams, RecordBody } from "../fakes/streams.ts";
import type { Truth } from "./truth.ts";

const OBJECTS = 8;
const TTL = { Type: "Service", PrincipalId: "dynamodb.amazonaws.com" };

/** What takes writes. */
export type WriteTarget = Pick<FakeStreams, "write">;

/** One write to the table; `truth` learns of it when the stream recorded it. */
export function writeSomething(streams: WriteTarget, truth: Truth, random: Random): void {
  truth.writes += 1;
  const value = String(truth.writes);
  if (random.chance(0.5)) return writeObject(streams, truth, random, value);
  const sent = [...truth.events];
  if (sent.length === 0 || random.chance(0.7)) {
    const pk = eventPk("shop", `m${value}`);
    truth.events.add(pk);
    return record(streams, truth, pk, "insert", event(pk, "INSERT", value));
  }
  const pk = random.pick(sent);
  if (random.chance(0.7)) return record(streams, truth, pk, null, event(pk, "MODIFY", value));
  truth.events.delete(pk);
  if (random.chance(0.5)) return record(streams, truth, pk, "delete", removal(pk));
  record(streams, truth, pk, null, { ...removal(pk), userIdentity: TTL });
}

function writeObject(streams: WriteTarget, truth: Truth, random: Random, value: string): void {
  const pk = objectPk("shop", "users", `u${random.between(1, OBJECTS)}`);
  const stands = truth.objects.has(pk);
  if (stands && random.chance(0.1)) {
    truth.objects.delete(pk);
    return record(streams, truth, pk, "delete", removal(pk));
  }
  truth.objects.add(pk);
  const image = {
    pk: { S: pk },
    kind: { S: "object" },
    source: { S: "shop" },
    event_at: { N: "1" },
    "p.v": { S: value },
  };
  record(streams, truth, pk, stands ? "update" : "insert", {
    eventName: stands ? "MODIFY" : "INSERT",
    dynamodb: { Keys: { pk: { S: pk } }, NewImage: image },
  });
}

const event = (pk: string, eventName: string, value: string): RecordBody => ({
  eventName,
  dynamodb: {
    Keys: { pk: { S: pk } },
    NewImage: {
      pk: { S: pk },
      kind: { S: "event" },
      source: { S: "shop" },
      collection: { S: "tracks" },
      body: { S: `{"n":${value}}` },
    },
  },
});

const removal = (pk: string): RecordBody => ({ eventName: "REMOVE", dynamodb: { Keys: { pk: { S: pk } } } });

function record(streams: WriteTarget, truth: Truth, pk: string, op: Op | null, body: RecordBody): void {
  const written = streams.write(pk, body);
  if (written === null || op === null) return;
  const key = JSON.stringify({ pk });
  const changes = truth.changes.get(key) ?? [];
  changes.push({ ...written, op });
  truth.changes.set(key, changes);
}
