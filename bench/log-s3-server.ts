/**
 * S3 for a bench of processor time, in a process of its own that takes next to none: it keeps a changelog's log, with
 * S3's preconditions, and lets the data files go, which no compactor reads again.
 */
import { hash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

const kept = new Map<string, Buffer>();
const isData = (key: string): boolean => key.endsWith(".parquet");

const etagOf = (body: Buffer): string => `"${hash("md5", body)}"`;

async function bodyOf(request: IncomingMessage, keeps: boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (keeps) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function listed(prefix: string, after: string): string {
  const found = [...kept.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted();
  const entries = found.map(
    (key) => `<Contents><Key>${key}</Key><Size>${kept.get(key)?.length ?? 0}</Size></Contents>`,
  );
  return `<?xml version="1.0"?><ListBucketResult>${entries.join("")}</ListBucketResult>`;
}

type Answer = { readonly status: number; readonly body: Buffer | string };
const failed = (status: number, code: string): Answer => ({
  status,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`,
});

async function answer(request: IncomingMessage): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://s3");
  const [, , ...path] = decodeURIComponent(pathname).split("/");
  const key = path.join("/");
  const body = await bodyOf(request, !isData(key));
  if (request.method === "PUT") {
    const wants = request.headers["if-match"];
    const standing = kept.get(key);
    if (request.headers["if-none-match"] === "*" && standing !== undefined)
      return failed(412, "PreconditionFailed");
    if (wants !== undefined && (standing === undefined || wants !== etagOf(standing)))
      return failed(412, "PreconditionFailed");
    if (!isData(key)) kept.set(key, body);
    return { status: 200, body };
  }
  if (request.method === "DELETE") {
    kept.delete(key);
    return { status: 204, body: "" };
  }
  if (key === "")
    return {
      status: 200,
      body: listed(searchParams.get("prefix") ?? "", searchParams.get("start-after") ?? ""),
    };
  const found = kept.get(key);
  return found === undefined ? failed(404, "NoSuchKey") : { status: 200, body: found };
}

const server = createServer((request, response) => {
  void answer(request).then(({ status, body }) => {
    const etag = status === 200 && typeof body !== "string" ? { etag: etagOf(body) } : {};
    response.writeHead(status, { "content-length": Buffer.byteLength(body), ...etag });
    response.end(body);
  });
});
// A compactor may be stopped for a while.
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ endpoint: `http://127.0.0.1:${port}` });
});
process.on("disconnect", () => process.exit());
