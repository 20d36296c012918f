/**
 * POST, and the answer's text, over kept connections. GetRecords answers are megabytes of text: node:http hands
 * them over at less than half of what fetch costs, which passes every chunk through a web stream.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

export type Answer = {
  readonly status: number;
  readonly text: string;
  /** When it was given, by the server's clock, ms; NaN when it does not say. */
  readonly dateMs: number;
};

export type Post = (
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
) => Promise<Answer>;

export function openPost(): Post {
  const http = new HttpAgent({ keepAlive: true });
  const https = new HttpsAgent({ keepAlive: true });
  return (url, headers, body, signal) =>
    new Promise((resolve, reject) => {
      const secure = url.startsWith("https:");
      const send = secure ? httpsRequest : httpRequest;
      const options = { method: "POST", headers, signal, agent: secure ? https : http };
      const request = send(url, options, (response) => {
        // Not as text before the end: what is still on its way would be copied at each garbage collection.
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        const dateMs = Date.parse(response.headers.date ?? "");
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, text, dateMs });
        });
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
}
