import { z } from "zod";

/** The variable in which the supervisor hands a part its settings, as JSON. */
export const SETTINGS_VARIABLE = "VARVE_PART";

/** The S3 part: Miniflare's R2 with one bucket, as an S3 endpoint. */
export const S3Settings = z.object({
  port: z.int(),
  dir: z.string(),
  bucket: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
});
export type S3Settings = z.infer<typeof S3Settings>;

/** The edge part: the worker, as deployed, in workerd. `vars` are the worker's variables. */
export const EdgeSettings = z.object({
  port: z.int(),
  worker: z.string(),
  dir: z.string(),
  writeKey: z.string(),
  vars: z.record(z.string(), z.string()),
});
export type EdgeSettings = z.infer<typeof EdgeSettings>;

/** What a Node part tells the supervisor. */
export const PartMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready") }),
  z.object({ type: z.literal("failed"), code: z.string(), message: z.string(), fix: z.string() }),
]);
export type PartMessage = z.infer<typeof PartMessage>;

export function settingsOf<T>(schema: z.ZodType<T>): T {
  return schema.parse(JSON.parse(process.env[SETTINGS_VARIABLE] ?? "null"));
}
