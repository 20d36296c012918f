/** An S3 of one's own for a test: Miniflare's R2 over the S3 protocol, in memory, on a free port. */
import { Miniflare } from "miniflare";
import { S3_PATH, bucketWorker } from "../../local/bucket.ts";
import type { S3Config } from "../../shared/aws/s3.ts";

const BUCKET = "changelog";
const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "secret" };

export type TestS3 = { readonly config: S3Config; readonly stop: () => Promise<void> };

/** @param prefix of every key, empty or ending with `/` */
export async function startS3(prefix: string): Promise<TestS3> {
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    cf: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    workers: [bucketWorker({ bucket: BUCKET, ...CREDENTIALS })],
  });
  const { origin } = await miniflare.ready;
  return {
    config: {
      bucket: BUCKET,
      prefix,
      region: "auto",
      endpoint: `${origin}${S3_PATH}`,
      credentials: CREDENTIALS,
    },
    stop: () => miniflare.dispose(),
  };
}
