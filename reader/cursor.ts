/**
 * Where a consumer that follows the log has come to: the last version it has dealt with. In a file, or in the
 * changelog root under the consumer's name, where put-if-match keeps two programs from sharing it unawares.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";
import { VarveError } from "../shared/errors.ts";
import { consumerKey, isConsumerName } from "../shared/keys.ts";
import type { ObjectStore } from "../shared/store.ts";

/** Give your own to keep the version beside the data it belongs to: then each commit is applied exactly once. */
export type Cursor = {
  /** The version saved last; null when there is none. */
  readonly load: () => Promise<number | null>;
  readonly save: (version: number) => Promise<void>;
};

const SAVED = z.object({
  version: z.number().int().nonnegative(),
  /** The changelog's id: a cursor of another changelog says nothing about this one. */
  changelog: z.string(),
});

/** The version in `text`. Throws `bad_cursor`. */
function versionIn(text: string, where: string, changelog: string): number {
  let saved: z.infer<typeof SAVED>;
  try {
    saved = SAVED.parse(JSON.parse(text));
  } catch (cause) {
    throw new VarveError(
      "bad_cursor",
      `${where} holds no cursor.`,
      "Delete it, and begin with --from-snapshot.",
      cause,
    );
  }
  if (saved.changelog === changelog) return saved.version;
  throw new VarveError(
    "bad_cursor",
    `${where} is a cursor of another changelog (${saved.changelog}; this one is ${changelog}).`,
    "Check the changelog's address; to follow this one from its beginning, delete the cursor.",
  );
}

const textOf = (version: number, changelog: string): string => `${JSON.stringify({ version, changelog })}\n`;

/** @param changelog the id in the changelog's metaData */
export function fileCursor(path: string, changelog: string): Cursor {
  return {
    load: async () => {
      try {
        return versionIn(await readFile(path, "utf8"), path, changelog);
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
        if (error instanceof VarveError) throw error;
        throw unusable(path, "read", error);
      }
    },
    save: async (version) => {
      try {
        await writeFile(`${path}.new`, textOf(version, changelog), { flush: true });
        await rename(`${path}.new`, path);
      } catch (error) {
        throw unusable(path, "written", error);
      }
    },
  };
}

const unusable = (path: string, what: "read" | "written", error: unknown): VarveError =>
  new VarveError(
    "bad_cursor",
    `${path} cannot be ${what}: ${error instanceof Error ? error.message : String(error)}`,
    "Name a file that this user may read and write, in a folder that exists.",
    error,
  );

/** Throws `bad_consumer` at a name that is not one, and on saving `consumer_taken` when another has moved it. */
export function consumerCursor(store: ObjectStore, name: string, changelog: string): Cursor {
  if (!isConsumerName(name)) {
    throw new VarveError(
      "bad_consumer",
      `${JSON.stringify(name)} is not a consumer's name.`,
      "Use up to 63 letters, digits, - and _, beginning with a letter or a digit.",
    );
  }
  const key = consumerKey(name);
  let etag: string | null = null;
  return {
    load: async () => {
      const standing = await store.get(key);
      etag = standing?.etag ?? null;
      return standing === null ? null : versionIn(new TextDecoder().decode(standing.body), key, changelog);
    },
    save: async (version) => {
      const body = textOf(version, changelog);
      const put = await store.put(
        key,
        new TextEncoder().encode(body),
        etag === null ? { kind: "if-absent" } : { kind: "if-match", etag },
      );
      if (put.kind === "stored") {
        etag = put.etag;
        return;
      }
      // A put that timed out may have been done, and one that was sent twice is refused by itself.
      const standing = await store.get(key);
      if (standing !== null && new TextDecoder().decode(standing.body) === body) {
        etag = standing.etag;
        return;
      }
      if (put.kind === "unknown") throw put.cause;
      throw new VarveError(
        "consumer_taken",
        `the cursor of consumer ${name} was moved by another program.`,
        "Let one program at a time follow under a name; give the other one a name of its own.",
      );
    },
  };
}
