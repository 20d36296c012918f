/** An S3 of one's own for a test: Miniflare's R2 over the S3 protocol, in memory, on a free port. */
import { Miniflare } from "miniflare";
import type { S3Config } from "../../shared/aws/s3.ts";

const BUCKET = "changelog";
const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "secret" };
const SCRIPT = `export default { fetch: () => new Response("", { status: 404 }) };`;

export type TestS3 = { readonly config: S3Config; readonly stop: () => Promise<void> };

/** @param prefix of every key, empty or ending with `/` */
export async function startS3(prefix: string): Promise<TestS3> {
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    cf: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    workers: [
      {
        config: {
          name: "s3",
          compatibilityDate: "2026-10-01",
          manifest: {
            mainModule: "s3.mjs",
            modulesRoot: import.meta.dirname,
            modules: { "s3.mjs": { type: "esm", contents: SCRIPT } },
          },
          env: {
            CHANGELOG: {
              type: "r2",
              name: BUCKET,
              dev: { remote: false, experimentalS3Credentials: CREDENTIALS },
            },
          },
        },
      },
    ],
  });
  const url = await miniflare.ready;
  return {
    config: {
      bucket: BUCKET,
      prefix,
      region: "auto",
      endpoint: new URL("cdn-cgi/local/r2/s3", url).href,
      credentials: CREDENTIALS,
    },
    stop: () => miniflare.dispose(),
  };
}
