/** As much of S3 as a reader needs (GET, ListObjectsV2), over a store in memory, for a program under test. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ObjectStore } from "../../shared/store.ts";

export type TestS3 = {
  /** What the program's environment must say. */
  readonly environment: Readonly<Record<string, string>>;
  readonly stop: () => Promise<void>;
};

const BUCKET = "changelog";

export async function serveS3(store: ObjectStore): Promise<TestS3> {
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const url = new URL(request.url ?? "/", "http://s3");
      const key = decodeURIComponent(url.pathname.slice(BUCKET.length + 2));
      if (key === "") {
        const keys: string[] = [];
        const prefix = url.searchParams.get("prefix") ?? "";
        const after = url.searchParams.get("start-after") ?? undefined;
        for await (const object of store.list(prefix, after)) {
          keys.push(
            `<Contents><Key>${object.key}</Key><Size>${object.sizeBytes}</Size><LastModified>2026-11-23T00:00:00.000Z</LastModified></Contents>`,
          );
        }
        response.setHeader("content-type", "application/xml");
        response.end(
          `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>${keys.join("")}</ListBucketResult>`,
        );
        return;
      }
      const object = await store.get(key);
      if (object === null) {
        response.statusCode = 404;
        response.setHeader("content-type", "application/xml");
        response.end(`<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>`);
        return;
      }
      response.setHeader("etag", object.etag);
      response.end(object.body);
    };
    answer().catch((error: unknown) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    environment: {
      VARVE_CHANGELOG: `s3://${BUCKET}`,
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      S3_REGION: "auto",
      S3_ACCESS_KEY_ID: "local",
      S3_SECRET_ACCESS_KEY: "local",
    },
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
