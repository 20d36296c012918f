/**
 * The object store in a local directory: for tests, for a copy of a changelog, for one machine without S3.
 *
 * Laws
 * - An object is there whole or not at all: it is written aside, synced, and then linked or renamed into place.
 * - if-absent holds between processes, because link(2) refuses a name that exists; if-match, because whoever
 *   compares holds the key's lock file.
 */
import { createHash, randomUUID } from "node:crypto";
import type { Dirent, Stats } from "node:fs";
import { link, mkdir, open, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VarveError } from "./errors.ts";
import type { ListedObject, ObjectStore, PutCondition, PutOutcome } from "./store.ts";

/** Holds what is being written, and locks. It is no part of the changelog. */
const ASIDE = ".varve-aside";
const LOCK_TRIES_MAX = 500;
const LOCK_WAIT_MS = 10;
/** A lock whose holder was killed is broken after this long. */
const LOCK_STALE_MS = 10_000;

/** @param root a path; it is made when something is first put */
export function openDirectoryStore(root: string): ObjectStore {
  const aside = join(root, ASIDE);
  const pathOf = (key: string): string => join(root, key);

  async function get(key: string, signal?: AbortSignal): Promise<{ body: Uint8Array; etag: string } | null> {
    try {
      const body = await readFile(pathOf(key), signal === undefined ? {} : { signal });
      return { body, etag: etagOf(body) };
    } catch (error) {
      if (isAbsent(error)) return null;
      throw unreadable("reading", pathOf(key), error);
    }
  }

  async function getRange(key: string, start: number, length: number): Promise<Uint8Array | null> {
    try {
      const file = await open(pathOf(key), "r");
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, start);
        return buffer.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isAbsent(error)) return null;
      throw unreadable("reading", pathOf(key), error);
    }
  }

  async function put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    const path = pathOf(key);
    const written = join(aside, randomUUID());
    const stored: PutOutcome = { kind: "stored", etag: etagOf(body) };
    try {
      await mkdir(aside, { recursive: true });
      await mkdir(dirname(path), { recursive: true });
      await writeSynced(written, body);
      if (condition.kind === "always") {
        await rename(written, path);
        return stored;
      }
      if (condition.kind === "if-absent") {
        await link(written, path);
        return stored;
      }
      return await locked(join(aside, `${createHash("sha256").update(key).digest("hex")}.lock`), async () => {
        const standing = await get(key);
        if (standing?.etag !== condition.etag) return { kind: "refused" };
        await rename(written, path);
        return stored;
      });
    } catch (error) {
      if (condition.kind === "if-absent" && codeOf(error) === "EEXIST") return { kind: "refused" };
      throw unreadable("writing", path, error);
    } finally {
      await rm(written, { force: true });
    }
  }

  async function* walk(dir: string, prefix: string, startAfter: string): AsyncGenerator<ListedObject> {
    const entries = await entriesOf(join(root, dir));
    // Order by whole key: a directory sorts as its name with the slash.
    const names = entries.map((entry) => `${dir}${entry.name}${entry.isDirectory() ? "/" : ""}`);
    for (const key of names.toSorted(byBytes)) {
      if (key.endsWith("/")) {
        if (key === `${ASIDE}/`) continue;
        if (key.startsWith(prefix) || prefix.startsWith(key)) yield* walk(key, prefix, startAfter);
      } else if (key.startsWith(prefix) && key > startAfter) {
        const found = await statOf(join(root, key));
        if (found !== null) yield { key, sizeBytes: found.size, modifiedMs: Math.trunc(found.mtimeMs) };
      }
    }
  }

  return {
    get,
    getRange,
    put,
    list: (prefix, startAfter = "") => walk("", prefix, startAfter),
    delete: async (key) => {
      await rm(pathOf(key), { force: true }).catch((error: unknown) => {
        throw unreadable("deleting", pathOf(key), error);
      });
    },
  };
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const etagOf = (body: Uint8Array): string => `"${createHash("sha256").update(body).digest("hex")}"`;

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw unreadable("listing", path, error);
  }
}

/** Null for a file that was deleted since it was listed. */
async function statOf(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw unreadable("listing", path, error);
  }
}

async function writeSynced(path: string, body: Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(body);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function locked<T>(lock: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await (await open(lock, "wx")).close();
      break;
    } catch (error) {
      if (codeOf(error) !== "EEXIST" || attempt >= LOCK_TRIES_MAX) throw error;
      const held = await stat(lock).catch(() => null);
      if (held !== null && Date.now() - held.mtimeMs > LOCK_STALE_MS) await rm(lock, { force: true });
      await new Promise((resolve) => {
        setTimeout(resolve, LOCK_WAIT_MS);
      });
    }
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

const isAbsent = (error: unknown): boolean => codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";

function unreadable(doing: string, path: string, error: unknown): unknown {
  if (error instanceof VarveError || (error instanceof Error && error.name === "AbortError")) return error;
  return new VarveError(
    "store_unreadable",
    `${doing} ${path} failed: ${error instanceof Error ? error.message : String(error)}`,
    "Check that the directory is there, and may be read and written by this user.",
    error,
  );
}
