/** Checkpoints as JSON, one every few commits: what shared/checkpoint.ts does, without an engine. */
import type * as checkpoint from "../../shared/checkpoint.ts";
import { parseActions } from "../../shared/delta.ts";
import { LAST_CHECKPOINT_KEY, checkpointKey } from "../../shared/keys.ts";
import { restoreSnapshot } from "../../shared/snapshot.ts";

type Checkpoints = typeof checkpoint;

export function jsonCheckpoints(real: Checkpoints): Checkpoints {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  const writeCheckpoint: Checkpoints["writeCheckpoint"] = async (store, snapshot, options) => {
    const signal = options?.signal;
    const actions = real.checkpointActions(snapshot, options?.forgetBeforeMs ?? 0);
    const body = encode(actions.map((action) => JSON.stringify(action)).join("\n"));
    const put = await store.put(checkpointKey(snapshot.version), body, { kind: "always" }, signal);
    if (put.kind !== "stored") throw new Error("the checkpoint was not stored");
    const standing = await store.get(LAST_CHECKPOINT_KEY, signal);
    const last = standing === null ? null : await real.readLastCheckpoint(store, signal);
    if (last !== null && last.version >= snapshot.version) return;
    const condition =
      standing === null
        ? ({ kind: "if-absent" } as const)
        : ({ kind: "if-match", etag: standing.etag } as const);
    const pointer = encode(JSON.stringify({ version: snapshot.version, size: actions.length }));
    const pointed = await store.put(LAST_CHECKPOINT_KEY, pointer, condition, signal);
    if (pointed.kind === "unknown") throw pointed.cause;
  };
  const readCheckpoint: Checkpoints["readCheckpoint"] = async (store, signal) => {
    const last = await real.readLastCheckpoint(store, signal);
    const object = last === null ? null : await store.get(checkpointKey(last.version), signal);
    if (last === null || object === null) return null;
    const lines = new TextDecoder().decode(object.body).split("\n");
    return restoreSnapshot(last.version, parseActions(last.version, lines));
  };
  const newestCheckpoint: Checkpoints["newestCheckpoint"] = async (store, above, signal) => {
    const last = await readCheckpoint(store, signal);
    return last !== null && last.version > above ? last : null;
  };
  return {
    ...real,
    CHECKPOINT_EVERY: 8 as Checkpoints["CHECKPOINT_EVERY"],
    writeCheckpoint,
    readCheckpoint,
    newestCheckpoint,
  };
}
