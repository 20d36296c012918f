/** A path into an image, and its JSON pointer (RFC 6901). */
import { sqlText } from "../../shared/duckdb.ts";

export type Path = readonly string[];

export const pointerOf = (path: Path): string =>
  path.map((key) => `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** As SQL; of none it would have no type. */
export const pointerList = (pointers: Iterable<string>): string =>
  `[${[...pointers].map(sqlText).join(", ")}]`;

/** The key by which `child` stands directly in `parent`, or null. */
export const childOf = (parent: string, path: Path, child: string, childPath: Path): string | null =>
  childPath.length === path.length + 1 && child.startsWith(`${parent}/`) ? (childPath.at(-1) ?? null) : null;
