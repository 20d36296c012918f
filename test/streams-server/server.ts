/**
 * The wire protocol on a port, in this process. `POST /control` takes a command, or an array of them;
 * `GET /control` gives the state, `GET /control/truth/<table>` what was written to a table.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { randomOf } from "../fakes/random.ts";
import { parseSequence } from "../../shared/sequence.ts";
import type { SequenceNumber } from "../../shared/sequence.ts";
import type { Truth } from "../sim/truth.ts";
import { emptyTruth } from "../sim/truth.ts";
import { writeSomething } from "../sim/workload.ts";
import { Command } from "./commands.ts";
import type { State } from "./commands.ts";
import { openFaults } from "./faults.ts";
import type { Shard, Tape } from "./tape.ts";
import { openTape } from "./tape.ts";
import type { Call } from "./wire.ts";
import { openWire } from "./wire.ts";

/** A call as it arrived. */
export type Arrived = { readonly operation: string; readonly shard: string | null; readonly atMs: number };

export type StreamsServer = {
  readonly endpoint: string;
  readonly tape: Tape;
  readonly command: (...commands: readonly Command[]) => void;
  readonly state: () => State;
  readonly truthOf: (table: string) => Truth;
  /** Called before a call is answered. */
  onCall: (arrived: Arrived) => void;
  readonly stop: () => Promise<void>;
};

export type StreamsServerOptions = {
  readonly seed?: number;
  readonly nowMs?: () => number;
};

export async function startStreamsServer({
  seed = 1,
  nowMs = Date.now,
}: StreamsServerOptions = {}): Promise<StreamsServer> {
  const random = randomOf(seed);
  const tape = openTape(nowMs, random.fork());
  const wire = openWire(tape, nowMs, random.fork());
  const faults = openFaults(random.fork(), nowMs);
  const writer = random.fork();
  const truths = new Map<string, Truth>();
  const calls: Record<string, number> = {};

  const truthOf = (table: string): Truth => {
    const truth = truths.get(table) ?? emptyTruth();
    truths.set(table, truth);
    return truth;
  };
  const write = (table: string, count: number): void => {
    const target = {
      write: (...[key, body]: Parameters<Parameters<typeof writeSomething>[0]["write"]>) => {
        const written = tape.write(table, key, body);
        return written === null
          ? null
          : { shard: written.shard, seq: parseSequence(written.seq) as SequenceNumber, madeMs: nowMs() };
      },
    };
    for (let nth = 0; nth < count; nth += 1) writeSomething(target, truthOf(table), writer);
  };
  const obey = (command: Command): void => {
    switch (command.do) {
      case "create":
        return tape.create(command.table, command.shards);
      case "backlog":
        return tape.createBacklog(command.table, command.shards, command.records, command.textBytes);
      case "write":
        return write(command.table, command.count);
      case "end":
        return tape.end(command.table, command.children, command.shard);
      case "rotateAll":
        return tape.rotateAll(command.table);
      case "switchOff":
        return tape.switchOff(command.table);
      case "switchOn":
        return tape.switchOn(command.table, command.shards);
      case "trim":
        return tape.trim(command.table, command.keep, command.shard);
      case "drop":
        return tape.drop(command.shard);
      case "expireIterators":
        return wire.expireIterators();
      case "lag":
        return tape.lag(command.maxMs);
      case "pageMax":
        return wire.pageMax(command.records);
      case "fault":
        return faults.add(command);
      case "limit":
        return faults.limit(command.operation, command.perSecond);
      case "calm":
        return faults.calm();
    }
  };
  const state = (): State => ({ calls: { ...calls }, shards: [...tape.shards.values()].map(stateOf) });

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const operation = String(request.headers["x-amz-target"]).split(".").at(-1) ?? "";
    const call = JSON.parse(await textOf(request)) as Call;
    const shard = operation === "GetRecords" ? wire.shardOf(call) : (call.ShardId ?? null);
    calls[operation] = (calls[operation] ?? 0) + 1;
    served.onCall({ operation, shard, atMs: nowMs() });
    const fault = faults.next(operation, shard);
    if (fault?.kind === "dropped") {
      request.socket.destroy();
      return;
    }
    const { status, body } = wire.answer(operation, call, fault?.kind ?? null);
    if (fault?.kind === "slow") await new Promise((resolve) => setTimeout(resolve, fault.ms));
    response.writeHead(status, {
      "content-type": "application/x-amz-json-1.0",
      "content-length": Buffer.byteLength(body),
      "x-amzn-requestid": String(calls[operation]),
    });
    response.end(body);
  };
  const control = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const truth = /^\/control\/truth\/(.+)$/.exec(request.url ?? "")?.[1];
    let body: unknown = {};
    if (request.method === "POST") {
      const given = JSON.parse(await textOf(request)) as unknown;
      for (const command of Array.isArray(given) ? given : [given]) obey(Command.parse(command));
    } else body = truth === undefined ? state() : [...truthOf(truth).changes];
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    const work = request.url?.startsWith("/control") ? control : answer;
    work(request, response).catch((error: unknown) => {
      response.writeHead(400, { "content-type": "application/json" });
      response.end(JSON.stringify({ __type: "SerializationException", message: String(error) }));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const served: StreamsServer = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tape,
    command: (...commands) => commands.forEach(obey),
    state,
    truthOf,
    onCall: () => {},
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return served;
}

function stateOf({ id, parent, arn, records, closed, gone }: Shard): State["shards"][number] {
  const count = records.count();
  const last = count === 0 ? null : String(records.at(count - 1).seq);
  return { id, parent, arn, last, closed, gone };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
