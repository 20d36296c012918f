import { describe, expect, test } from "vitest";
import { IMAGE_CHARS_MAX, eventLine } from "../../../console/model/event.ts";
import type { ChangeRow } from "../../../reader/scan.ts";
import { T0 } from "./made.ts";

describe("an event", () => {
  const row = (some: Partial<ChangeRow>): ChangeRow => ({
    changedMs: T0,
    op: "insert",
    key: '{"pk":"k"}',
    seq: "1",
    shard: "s",
    changes: 1,
    kind: "event",
    source: "web",
    collection: "tracks",
    id: "m1",
    userId: null,
    anonymousId: null,
    event: null,
    eventMs: null,
    image: null,
    ...some,
  });
  const rejected = (body: unknown): ChangeRow =>
    row({ kind: "rejected", collection: "rejected", image: JSON.stringify(body) });

  test.each([
    [
      "a track",
      row({ event: "Paid", userId: "u" }),
      { status: "accepted", type: "track", name: "Paid", user: "u", reason: null },
    ],
    ["of nobody known", row({ anonymousId: "a" }), { user: "a" }],
    [
      "an object",
      row({ kind: "object", collection: "users", id: "u1" }),
      { status: "object", type: "object", name: "users/u1" },
    ],
    [
      "of another table",
      row({ kind: null, collection: null, op: "delete" }),
      { status: "change", type: "delete", name: '{"pk":"k"}', json: null },
    ],
    [
      "rejected",
      rejected({ reason: { code: "c", message: "m" }, event: { type: "page", name: "Home", userId: 7 } }),
      { status: "rejected", type: "page", name: "Home", user: "7", reason: { code: "c", message: "m" } },
    ],
    [
      "rejected, not an object",
      rejected({ reason: null, event: "cut off" }),
      { type: "?", name: null, reason: { code: "rejected", message: "" } },
    ],
    ["rejected, no JSON", row({ kind: "rejected", image: "{" }), { status: "rejected", type: "?" }],
    [
      "rejected, names of other types",
      rejected({ reason: {}, event: { type: {}, event: [], name: null } }),
      { type: "?", name: null },
    ],
  ])("%s", (_, given, expected) => {
    expect(eventLine(given, 1)).toMatchObject(expected);
  });

  test("one that is too long is cut, and says so", () => {
    const line = eventLine(row({ image: "x".repeat(IMAGE_CHARS_MAX + 1) }), 1);
    expect(line.cut).toBe(true);
    expect(line.json).toHaveLength(IMAGE_CHARS_MAX);
  });
});
