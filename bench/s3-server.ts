/** Miniflare's R2 as an S3 endpoint, in a process of its own. */
import { Log, LogLevel, Miniflare } from "miniflare";

const [dir, bucket, accessKeyId, secretAccessKey] = process.argv.slice(2) as [string, string, string, string];
const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false,
  enableDevRegistry: false,
  logRequests: false,
  telemetry: { enabled: false },
  log: new Log(LogLevel.WARN),
  resourcePersistencePath: dir,
  workers: [
    {
      config: {
        name: "s3",
        compatibilityDate: "2026-10-01",
        manifest: {
          mainModule: "s3.mjs",
          modulesRoot: import.meta.dirname,
          modules: {
            "s3.mjs": {
              type: "esm",
              contents: "export default { fetch: () => new Response(null, { status: 404 }) };",
            },
          },
        },
        env: {
          CHANGELOG: {
            type: "r2",
            name: bucket,
            dev: { remote: false, experimentalS3Credentials: { accessKeyId, secretAccessKey } },
          },
        },
      },
    },
  ],
});
const url = await miniflare.ready;
process.send?.({ endpoint: `${url.origin}/cdn-cgi/local/r2/s3` });
process.on("disconnect", () => {
  void miniflare.dispose().finally(() => process.exit());
});
