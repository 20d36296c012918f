/** The members of an event that the edge reads, or writes anew; all others are copied unseen. */
import { DROPPED, MAY_ESCAPE, OBJECT_ONLY, WATCHED } from "./wasm/layout.ts";

/**
 * What is done with each: a sum of flags. An id or a time with an escape in it is nothing that SDKs send; of the others
 * an escape changes nothing.
 */
const FLAGS = {
  type: 0,
  event: MAY_ESCAPE,
  name: MAY_ESCAPE,
  category: MAY_ESCAPE,
  messageId: 0,
  userId: 0,
  anonymousId: 0,
  groupId: 0,
  properties: 0,
  traits: 0,
  context: OBJECT_ONLY + WATCHED,
  integrations: OBJECT_ONLY,
  timestamp: DROPPED,
  originalTimestamp: DROPPED,
  sentAt: DROPPED,
  receivedAt: DROPPED + MAY_ESCAPE,
  writeKey: DROPPED + MAY_ESCAPE,
  write_key: DROPPED + MAY_ESCAPE,
  varve: DROPPED + MAY_ESCAPE,
  // Of a request, not of an event.
  batch: MAY_ESCAPE,
} as const;

export type FieldName = keyof typeof FLAGS;

export const EVENT_FIELDS = Object.entries(FLAGS).map(([name, flags]) => ({
  bytes: new TextEncoder().encode(name),
  flags,
}));

const names = Object.keys(FLAGS);
export const fieldNumber = (name: FieldName): number => names.indexOf(name);
