/** Sequence numbers of 21 to 40 digits: numbers, not text, and beyond what a double holds. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test.each([21, 22, 30, 39])("a shard whose numbers grow from %i digits to one more", async (digits) => {
  const { command, server, settled, shards, rows } = scenario();
  command({ do: "create", table: TABLE, shards: 1 });
  server.tape.goOnFrom(shards()[0]?.id ?? "", 10n ** BigInt(digits) - 10_000n);
  command({ do: "pageMax", records: 4 }, { do: "write", table: TABLE, count: 60 });
  const first = scenario().compactor();
  await settled();
  await first.stop();
  command({ do: "write", table: TABLE, count: 20 });
  scenario().compactor();
  await settled();
  const lengths = new Set((await rows()).map(({ seq }) => seq.length));
  expect([...lengths].toSorted((a, b) => a - b)).toEqual([digits, digits + 1]);
  expect(await scenario().problems()).toEqual([]);
});
