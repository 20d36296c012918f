/**
 * Which lane of a process reads which shard: a new one goes to the lane that has the fewest, and stays there, so that
 * no two lanes read it. A hash of names would give one of two lanes five shards of eight.
 */
export function deal(
  shards: Iterable<string>,
  before: ReadonlyMap<string, number>,
  lanes: number,
): ReadonlyMap<string, number> {
  const dealt = new Map<string, number>();
  const counts = Array.from({ length: lanes }, () => 0);
  const fresh: string[] = [];
  const give = (shard: string, lane: number): void => {
    dealt.set(shard, lane);
    counts[lane] = (counts[lane] ?? 0) + 1;
  };
  for (const shard of shards) {
    const lane = before.get(shard);
    if (lane === undefined) fresh.push(shard);
    else give(shard, lane);
  }
  for (const shard of fresh) give(shard, counts.indexOf(Math.min(...counts)));
  return dealt;
}
