import "./orphan.ts";
import { quiet, runMiniflare } from "./child.ts";
import { S3_PATH, S3Settings, settingsOf } from "./settings.ts";

const SCRIPT = `export default {
  fetch: () => new Response("The S3 endpoint is ${S3_PATH}\\n", { status: 404 }),
};`;

const settings = settingsOf(S3Settings);
await runMiniflare(
  async () => ({
    ...quiet,
    port: settings.port,
    resourcePersistencePath: settings.dir,
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
              name: settings.bucket,
              dev: {
                remote: false,
                experimentalS3Credentials: {
                  accessKeyId: settings.accessKeyId,
                  secretAccessKey: settings.secretAccessKey,
                },
              },
            },
          },
        },
      },
    ],
  }),
  async () => {},
);
