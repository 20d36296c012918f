/** Events and objects, as a test or a bench says them, laid down as a changelog. */
import type { Commit } from "../shared/delta.ts";
import type { Op } from "../shared/row.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { GivenRow } from "./laid.ts";
import { layDown } from "./laid.ts";

const STEP_MS = 1000;

export type MadeChange = {
  readonly kind: "event" | "object" | "rejected";
  readonly source?: string;
  readonly collection: string;
  readonly id: string;
  readonly op?: Op;
  readonly event?: string;
  readonly userId?: string;
  readonly anonymousId?: string;
  /** The body or the properties; a text stands as it is. */
  readonly image?: unknown;
};

export type MadeChangelog = {
  readonly snapshot: () => Snapshot;
  /** One commit, a second after the one before; no changes make an empty one. */
  readonly commit: (changes: readonly MadeChange[]) => Promise<void>;
  /** Puts an entry of the caller's own making on top. */
  readonly put: (commit: Commit, next: Snapshot) => Promise<unknown>;
  readonly close: () => Promise<void>;
};

const PREFIX = { event: "e", object: "o", rejected: "r" } as const;

export async function makeChangelog(store: ObjectStore, startMs: number): Promise<MadeChangelog> {
  const laid = await layDown(store, startMs);
  let nowMs = startMs;
  return {
    snapshot: laid.snapshot,
    commit: async (changes) => {
      nowMs += STEP_MS;
      const at = nowMs;
      await laid.commit(
        changes.map((change) => rowOf(change, at)),
        at,
      );
    },
    put: laid.put,
    close: laid.close,
  };
}

function rowOf(change: MadeChange, changedMs: number): GivenRow {
  const { kind, source = "shop", collection, id, op = "insert" } = change;
  const pk = kind === "object" ? `o#${source}#${collection}#${id}` : `${PREFIX[kind]}#${source}#${id}`;
  const image = typeof change.image === "string" ? change.image : JSON.stringify(change.image ?? {});
  return {
    changedMs,
    op,
    key: JSON.stringify({ pk }),
    kind,
    source,
    // An event's collection stands in its image, and a delete has none.
    collection: kind === "event" && op === "delete" ? null : collection,
    id,
    userId: change.userId ?? null,
    anonymousId: change.anonymousId ?? null,
    event: change.event ?? null,
    eventMs: changedMs - STEP_MS,
    image: op === "delete" ? null : image,
  };
}
