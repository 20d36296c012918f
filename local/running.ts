import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const Credentials = z.object({ accessKeyId: z.string(), secretAccessKey: z.string(), region: z.string() });

/**
 * The running system, as other programs find it: the first line of `varve local --json`, and
 * the file local.json in its data directory while it runs.
 */
export const Running = z.object({
  endpoint: z.string(),
  writeKey: z.string(),
  /** The web console's address. */
  console: z.string(),
  dynamodb: z.string(),
  table: z.string(),
  s3: z.string(),
  bucket: z.string(),
  /** The changelog root, `s3://bucket/prefix/<region>/<table>`. */
  changelog: z.string(),
  s3Credentials: Credentials,
  dynamodbCredentials: Credentials,
  dataDir: z.string(),
  pid: z.int(),
  processes: z.record(z.string(), z.int()),
});
export type Running = z.infer<typeof Running>;

export function runningPath(dataDir: string): string {
  return join(dataDir, "local.json");
}

/** The system that runs on this data directory, if one does. */
export function readRunning(dataDir: string): Running | undefined {
  let text: string;
  try {
    text = readFileSync(runningPath(dataDir), "utf8");
  } catch {
    return undefined;
  }
  const parsed = Running.safeParse(parseJson(text));
  return parsed.success && isAlive(parsed.data.pid) ? parsed.data : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
