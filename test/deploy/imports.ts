/** What a program consists of: the files that its entry imports, theirs, and so on; and the AWS calls in them. */
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export type Program = { readonly files: readonly string[]; readonly packages: ReadonlySet<string> };

const IMPORT =
  /(?:^import\s+(?!type\b)(?:[^"']*?from\s+)?|^export\s+(?!type\b)[^"'()]*?from\s+|\bimport\()"([^"]+)"/gm;

/** Paths from the project's root. Type-only imports do not count: nothing of them is left at run time. */
export function programOf(...entries: readonly string[]): Program {
  const files = new Set<string>();
  const packages = new Set<string>();
  const waiting = entries.map((entry) => join(ROOT, entry));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const name = relative(ROOT, path);
    if (files.has(name)) continue;
    files.add(name);
    if (!path.endsWith(".ts")) continue;
    for (const [, from = ""] of readFileSync(path, "utf8").matchAll(IMPORT)) {
      if (from.startsWith(".")) waiting.push(join(dirname(path), from));
      else if (!from.startsWith("node:"))
        packages.add(
          from
            .split("/")
            .slice(0, from.startsWith("@") ? 2 : 1)
            .join("/"),
        );
    }
  }
  return { files: [...files].toSorted(), packages };
}

const ACTION_OF: Readonly<Record<string, string>> = {
  ListObjectsV2: "s3:ListBucket",
  HeadBucket: "s3:ListBucket",
};
const S3_CALL = /^(?:GetObject|PutObject|DeleteObject|GetBucket\w+)$/;

/** The IAM actions that a program's calls need. */
export function actionsCalled({ files }: Program): ReadonlySet<string> {
  const actions = new Set<string>();
  for (const file of files) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const calls = [
      ...text.matchAll(/new (\w+)Command\(/g),
      ...text.matchAll(/"DynamoDB(?:Streams)?_20120810\.(\w+)"/g),
    ];
    for (const [, call = ""] of calls)
      actions.add(ACTION_OF[call] ?? (S3_CALL.test(call) ? `s3:${call}` : `dynamodb:${call}`));
  }
  return actions;
}
