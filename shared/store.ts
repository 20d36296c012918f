/**
 * The object store that a changelog lives in. Keys are relative to the changelog root.
 * An implementation must honour `ifAbsent` and `ifMatch` as S3 does: everything here that is exactly once
 * rests on them.
 */
export type StoredObject = { readonly body: Uint8Array; readonly etag: string };
export type ListedObject = { readonly key: string; readonly sizeBytes: number; readonly modifiedMs: number };

export type PutCondition =
  | { readonly kind: "always" }
  | { readonly kind: "if-absent" }
  | { readonly kind: "if-match"; readonly etag: string };

/** `unknown`: the store did not say (a time-out, a 5xx): it may be there now, or later, or never. */
export type PutOutcome =
  | { readonly kind: "stored"; readonly etag: string }
  | { readonly kind: "refused" }
  | { readonly kind: "unknown"; readonly cause: unknown };

export type ObjectStore = {
  /** Null when there is no such object. Throws when the store does not answer. */
  readonly get: (key: string, signal?: AbortSignal) => Promise<StoredObject | null>;
  /**
   * `length` bytes from `start`, or what there is of them; null when there is no such object. A store without it
   * is read whole, object by object.
   */
  readonly getRange?: (
    key: string,
    start: number,
    length: number,
    signal?: AbortSignal,
  ) => Promise<Uint8Array | null>;
  readonly put: (
    key: string,
    body: Uint8Array,
    condition: PutCondition,
    signal?: AbortSignal,
  ) => Promise<PutOutcome>;
  /** Ascending by key. */
  readonly list: (prefix: string, startAfter?: string, signal?: AbortSignal) => AsyncIterable<ListedObject>;
  readonly delete: (key: string, signal?: AbortSignal) => Promise<void>;
};
