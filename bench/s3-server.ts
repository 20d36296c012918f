/** Miniflare's R2 as an S3 endpoint, in a process of its own. */
import { Log, LogLevel, Miniflare } from "miniflare";
import { S3_PATH, bucketWorker } from "../local/bucket.ts";

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
  workers: [bucketWorker({ bucket, accessKeyId, secretAccessKey })],
});
const url = await miniflare.ready;
process.send?.({ endpoint: `${url.origin}${S3_PATH}` });
process.on("disconnect", () => {
  void miniflare.dispose().finally(() => process.exit());
});
