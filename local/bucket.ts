/** A bucket that answers as S3 does: Miniflare's R2 behind the S3 protocol, conditional writes included. */

/** Where a Miniflare with such a worker serves the S3 protocol. */
export const S3_PATH = "/cdn-cgi/local/r2/s3";

export type BucketSettings = {
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
};

const SCRIPT = `export default {
  fetch: () => new Response("The S3 endpoint is ${S3_PATH}\\n", { status: 404 }),
};`;

/** One of Miniflare's `workers`. */
export const bucketWorker = ({ bucket, accessKeyId, secretAccessKey }: BucketSettings) => ({
  config: {
    name: "s3",
    compatibilityDate: "2026-10-01",
    manifest: {
      mainModule: "s3.mjs",
      modulesRoot: import.meta.dirname,
      modules: { "s3.mjs": { type: "esm" as const, contents: SCRIPT } },
    },
    env: {
      CHANGELOG: {
        type: "r2" as const,
        name: bucket,
        dev: { remote: false as const, experimentalS3Credentials: { accessKeyId, secretAccessKey } },
      },
    },
  },
});
