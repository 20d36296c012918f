/** The objects that "what changed since T" is asked of, in the changelog and in the table; what an answer costs. */
export const CHANGED = 1000;
export const COMMITS = 10;
export const T0 = Date.UTC(2026, 10, 20, 0, 0);
export const WINDOW_MS = 300_000;
export const CHANGED_AT = T0 + COMMITS * WINDOW_MS;

export const idOf = (index: number): string => `u${String(index).padStart(8, "0")}`;
export const changedImage = (index: number): string =>
  JSON.stringify({ name: `changed ${index}`, email: `u${index}@example.com`, plan: "free", visits: index });

export type Cost = { readonly ms: number; readonly requests: number; readonly bytes: number };
export const NO_COST: Cost = { ms: 0, requests: 0, bytes: 0 };
/** Of several rounds. */
export const best = (costs: readonly Cost[]): Cost => costs.toSorted((a, b) => a.ms - b.ms)[0] ?? NO_COST;
