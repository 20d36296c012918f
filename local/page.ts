/** What a person reads once the system runs. */
import { relative } from "node:path";
import type { PartEvent } from "./part.ts";
import type { Running } from "./running.ts";

export function describeRunning(running: Running): string {
  const { endpoint, writeKey, changelog, s3, table, dynamodb } = running;
  const data = shortPath(running.dataDir);
  const option = dataOption(running.dataDir);
  return `
Varve runs on this machine.

  endpoint    ${endpoint}
  write key   ${writeKey}
  console     ${running.console}
  changelog   ${changelog}  (S3 at ${s3})
  table       ${table}  (DynamoDB at ${dynamodb})
  data        ${data}

Send an event:

  curl ${endpoint}/v1/track -u ${writeKey}: -H 'content-type: application/json' \\
    -d '{"userId":"u1","event":"Signed Up","properties":{"plan":"pro"}}'

See what changed, from another terminal:

  npm run varve -- changes --since 1h${option}
  npm run demo${option === "" ? "" : ` --${option}`}

Ctrl-C ends it; what it holds stays in ${data}.
`;
}

export function describeEvent(event: Exclude<PartEvent, { readonly event: "line" }>): string {
  return event.event === "started"
    ? `${event.part}: started again (process ${event.pid})`
    : `${event.part}: ended (${event.reason}); starts again in ${event.restartInMs / 1000} s`;
}

/** The option by which a command finds this directory; empty for the default one. */
export function dataOption(dataDir: string): string {
  const data = shortPath(dataDir);
  return data === ".varve" ? "" : ` --data ${shellWord(data)}`;
}

function shortPath(dataDir: string): string {
  const path = relative(process.cwd(), dataDir);
  return path === "" || path.startsWith("..") ? dataDir : path;
}

function shellWord(text: string): string {
  return /^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
