/**
 * A table that answers at once, in its own process, so that its work is not counted as the worker's.
 * Prints its port; tells whoever GETs how many calls it has answered; ends with its parent.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

let calls = 0;
const server = createServer((request, response) => {
  request.resume();
  request.once("end", () => {
    if (request.method === "GET") {
      response.end(String(calls));
      return;
    }
    calls += 1;
    const batch = String(request.headers["x-amz-target"]).endsWith("BatchWriteItem");
    const body = batch ? '{"UnprocessedItems":{}}' : "{}";
    response.writeHead(200, {
      "Content-Type": "application/x-amz-json-1.0",
      "Content-Length": String(body.length),
    });
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.stdin.resume();
process.stdin.once("end", () => process.exit(0));
