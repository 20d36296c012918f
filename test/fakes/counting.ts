/** A store that notes what was asked of it. */
import type { ObjectStore } from "../../shared/store.ts";

export type Asked = { readonly key: string; readonly bytes: number; readonly ranged: boolean };

export function countingStore(store: ObjectStore): ObjectStore & { readonly asked: Asked[] } {
  const asked: Asked[] = [];
  const { getRange } = store;
  return {
    ...store,
    asked,
    get: async (key, signal) => {
      const found = await store.get(key, signal);
      asked.push({ key, bytes: found?.body.byteLength ?? 0, ranged: false });
      return found;
    },
    ...(getRange === undefined
      ? {}
      : {
          getRange: async (key, start, length, signal) => {
            const body = await getRange(key, start, length, signal);
            asked.push({ key, bytes: body?.byteLength ?? 0, ranged: true });
            return body;
          },
        }),
  };
}
