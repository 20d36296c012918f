import "./orphan.ts";
import { bucketWorker } from "./bucket.ts";
import { quiet, runMiniflare } from "./child.ts";
import { S3Settings, settingsOf } from "./settings.ts";

const settings = settingsOf(S3Settings);
await runMiniflare(
  async () => ({
    ...quiet,
    port: settings.port,
    resourcePersistencePath: settings.dir,
    workers: [bucketWorker(settings)],
  }),
  async () => {},
);
