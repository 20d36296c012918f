import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DynamoDBClient, DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { readRunning, runningPath, type Running } from "../../local/running.ts";
import { openS3Store } from "../../shared/aws/s3.ts";
import { startDynoxide } from "../support/dynoxide.ts";
import {
  end,
  eventually,
  newDataDir,
  processesOf,
  removeDataDirs,
  runScript,
  spawnVarve,
  startLocal,
  varve,
  workerdOf,
  type Started,
} from "./system.ts";

afterAll(removeDataDirs);

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (body: Uint8Array | undefined): string => new TextDecoder().decode(body);

const storeOf = (running: Running): ReturnType<typeof openS3Store> =>
  openS3Store({
    bucket: running.bucket,
    prefix: "test/",
    region: running.s3Credentials.region,
    endpoint: running.s3,
    credentials: running.s3Credentials,
    attemptsMax: 1,
    timeoutMs: 3_000,
  });

async function isHealthy(running: Running): Promise<boolean> {
  return fetch(`${running.endpoint}/healthz`).then(
    (response) => response.ok,
    () => false,
  );
}

async function track(running: Running, messageId: string): Promise<number> {
  const response = await fetch(`${running.endpoint}/v1/track`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${running.writeKey}:`)}` },
    body: JSON.stringify({ messageId, userId: "u1", event: "Tested" }),
  });
  await response.arrayBuffer();
  return response.status;
}

async function isCommitted(dataDir: string, messageId: string): Promise<boolean> {
  const { stdout } = await varve("changes", "--since", "0", "--json", "--data", dataDir);
  return stdout.includes(messageId);
}

/** The whole path works: the edge takes an event, and the changelog shows it. */
async function serves(running: Running, part: string): Promise<boolean> {
  const messageId = `after-${part}-${crypto.randomUUID()}`;
  try {
    if ((await track(running, messageId)) !== 200) return false;
    await eventually("committed", () => isCommitted(running.dataDir, messageId), 8_000);
    return true;
  } catch {
    return false;
  }
}

describe("a running system", () => {
  const dataDir = newDataDir();
  let system: Started;
  beforeAll(async () => {
    system = await startLocal(dataDir);
  });
  afterAll(() => system.stop());

  test("says on its first line, and in local.json, how to reach it", async () => {
    const { running } = system;
    expect(running).toMatchObject({
      table: "varve",
      bucket: "changelog",
      changelog: "s3://changelog/varve/local/varve",
      dataDir,
    });
    expect(Object.keys(running.processes).toSorted()).toEqual(["compactor", "dynamodb", "edge", "s3"]);
    expect(readRunning(dataDir)).toEqual(running);
    const kept = readdirSync(dataDir, { recursive: true, encoding: "utf8" });
    expect(kept.filter((name) => name.startsWith("s3/")).length).toBeGreaterThan(1);
    expect(kept.filter((name) => (statSync(join(dataDir, name)).mode & 0o077) !== 0)).toEqual([]);
    expect(await isHealthy(running)).toBe(true);
  });

  test("its own source is listed, with the key that it prints", async () => {
    const { stdout } = await varve("sources", "list", "--json", "--data", dataDir);
    expect(JSON.parse(stdout)).toMatchObject({
      id: "local",
      enabled: true,
      writeKeys: [system.running.writeKey],
    });
  });

  test("has a table with a stream of new images", async () => {
    const { dynamodb, dynamodbCredentials, table } = system.running;
    const client = new DynamoDBClient({
      endpoint: dynamodb,
      region: dynamodbCredentials.region,
      credentials: dynamodbCredentials,
    });
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    client.destroy();
    expect(Table?.KeySchema).toEqual([{ AttributeName: "pk", KeyType: "HASH" }]);
    expect(Table?.StreamSpecification).toEqual({ StreamEnabled: true, StreamViewType: "NEW_IMAGE" });
  });

  test("its S3 honours put-if-absent and put-if-match", async () => {
    const store = storeOf(system.running);
    const first = await store.put("once", bytes("1"), { kind: "if-absent" });
    expect(first.kind).toBe("stored");
    expect((await store.put("once", bytes("2"), { kind: "if-absent" })).kind).not.toBe("stored");
    expect(text((await store.get("once"))?.body)).toBe("1");
    store.close();
  });

  test("a second one on the same directory is refused in words", async () => {
    const { code, stdout, stderr } = await varve("local", "--port", "0", "--data", dataDir);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`already running on ${dataDir} (process ${system.process.pid}`);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test("a directory that cannot be made is named at once", async () => {
    const { code, stderr } = await varve("local", "--port", "0", "--data", "/proc/x/y");
    expect(code).toBe(1);
    expect(stderr).toContain("/proc/x/y cannot be written: ENOENT");
    expect(stderr).toContain("--data <directory>");
  });

  test("an event posted to it is in the changelog", async () => {
    expect(await track(system.running, "first-event")).toBe(200);
    await eventually("committed", () => isCommitted(dataDir, "first-event"));
  });

  test("an event that its DynamoDB does not take is not acknowledged, and can be sent again", async () => {
    const pid = system.running.processes["dynamodb"] ?? 0;
    process.kill(pid, "SIGSTOP");
    try {
      expect(await track(system.running, "sent-again")).toBe(503);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await eventually("taken", async () => (await track(system.running, "sent-again")) === 200);
    await eventually("committed", () => isCommitted(dataDir, "sent-again"));
  });

  test("the demo posts, waits and tells", async () => {
    const { code, stdout } = await runScript("local/demo.ts", "--data", dataDir, "--events", "300");
    expect(code).toBe(0);
    expect(stdout).toContain("300 events accepted");
    for (const name of [
      "tracks",
      "pages",
      "screens",
      "identifies",
      "groups",
      "aliases",
      "users",
      "accounts",
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\d+ rows`, "m"));
    }
    expect((await varve("verify", "--data", dataDir)).code).toBe(0);
  });

  describe("each part that is killed comes back at the same address", () => {
    test.each(["edge", "s3", "dynamodb", "compactor"] as const)("%s", async (part) => {
      const pid = readRunning(dataDir)?.processes[part] ?? 0;
      process.kill(pid, "SIGKILL");
      await eventually("its end and its start are told", () =>
        ["exited", "started"].every((event) =>
          system.events.some((told) => told["event"] === event && told["part"] === part),
        ),
      );
      expect(readRunning(dataDir)?.processes[part]).not.toBe(pid);
      await eventually("it serves", () => serves(system.running, part));
    });

    test.each(["edge", "s3"] as const)("the workerd of %s", async (part) => {
      const address = part === "edge" ? system.running.endpoint : system.running.s3;
      const [pid] = workerdOf(dataDir, address);
      expect(pid).toBeDefined();
      process.kill(pid ?? 0, "SIGKILL");
      await eventually("another workerd", () => {
        const now = workerdOf(dataDir, address);
        return now.length === 1 && now[0] !== pid;
      });
      await eventually("it serves", () => serves(system.running, part));
    });
  });
});

describe("from run to run", () => {
  const dataDir = newDataDir();
  let system: Started | undefined;
  afterEach(async () => {
    await system?.stop();
  });

  test("write key, items, changelog and objects survive; SIGTERM leaves nothing running", async () => {
    system = await startLocal(dataDir);
    const { writeKey } = system.running;
    expect(await track(system.running, "before")).toBe(200);
    const store = storeOf(system.running);
    await store.put("kept", bytes("kept"), { kind: "if-absent" });
    store.close();
    // What was accepted a moment before the end is flushed by it.
    expect(await system.stop()).toBe(0);
    expect(system.stderr()).not.toMatch(/^\s+at /m);
    expect(processesOf(dataDir).size).toBe(0);
    expect(existsSync(runningPath(dataDir))).toBe(false);

    system = await startLocal(dataDir);
    expect(system.running.writeKey).toBe(writeKey);
    const again = storeOf(system.running);
    expect(text((await again.get("kept"))?.body)).toBe("kept");
    again.close();
    await eventually("committed", () => isCommitted(dataDir, "before"));
    expect(await track(system.running, "after")).toBe(200);
    await eventually("committed", () => isCommitted(dataDir, "after"));
    expect((await varve("verify", "--data", dataDir)).code).toBe(0);
  });

  test("a supervisor killed outright takes all its parts along, and the next start works", async () => {
    system = await startLocal(dataDir);
    expect(await track(system.running, "unlucky")).toBe(200);
    system.process.kill("SIGKILL");
    await once(system.process, "exit");
    await eventually("no process is left", () => processesOf(dataDir).size === 0, 5_000);
    system = await startLocal(dataDir);
    await eventually("committed", () => isCommitted(dataDir, "unlucky"));
  });

  test("what a killed supervisor could not take along is ended by the next start", async () => {
    system = await startLocal(dataDir);
    const { s3 = 0, dynamodb = 0 } = system.running.processes;
    // Without the S3 part nobody ends dynoxide; without its parent a workerd stays.
    process.kill(system.process.pid ?? 0, "SIGSTOP");
    process.kill(s3, "SIGKILL");
    system.process.kill("SIGKILL");
    await once(system.process, "exit");
    expect([...processesOf(dataDir).keys()]).toContain(dynamodb);
    system = await startLocal(dataDir);
    expect([...processesOf(dataDir).keys()]).not.toContain(dynamodb);
    expect(workerdOf(dataDir, system.running.s3)).toHaveLength(1);
    expect(await track(system.running, "next")).toBe(200);
    expect(await system.stop()).toBe(0);
    expect(processesOf(dataDir).size).toBe(0);
  });
});

test("a run whose directory is removed ends, and does not disturb the next one there", async () => {
  const dataDir = newDataDir();
  const before = await startLocal(dataDir);
  const ended = once(before.process, "exit");
  rmSync(dataDir, { recursive: true, force: true });
  const after = await startLocal(dataDir);
  await ended;
  expect(before.process.exitCode).toBe(1);
  expect(before.stderr()).toContain(`${dataDir} was removed`);
  expect(readRunning(dataDir)).toEqual(after.running);
  expect(await serves(after.running, "removal")).toBe(true);
  expect(await after.stop()).toBe(0);
  expect(processesOf(dataDir).size).toBe(0);
});

test.each([300, 900, 1_500, 2_500])("a SIGTERM %d ms after the start leaves nothing running", async (ms) => {
  const dataDir = newDataDir();
  const child = spawnVarve(["local", "--port", "0", "--data", dataDir, "--json"]);
  await new Promise((resolve) => setTimeout(resolve, ms));
  const code = await end(child, "SIGTERM");
  expect(processesOf(dataDir).size).toBe(0);
  // Before its first line of code has run, the process has no way but the signal's own.
  expect([0, null]).toContain(code);
});

test("a DynamoDB that the environment names is used, and left alone at the end", async () => {
  const foreign = await startDynoxide("other");
  const dataDir = newDataDir();
  vi.stubEnv("DYNAMODB_ENDPOINT", foreign.endpoint);
  try {
    const { running, stop } = await startLocal(dataDir);
    expect(running.dynamodb).toBe(foreign.endpoint);
    expect(Object.keys(running.processes).toSorted()).toEqual(["compactor", "edge", "s3"]);
    expect(await serves(running, "foreign")).toBe(true);
    expect(await stop()).toBe(0);
    expect((await fetch(foreign.endpoint)).status).toBeGreaterThan(0);
  } finally {
    vi.unstubAllEnvs();
    await foreign.stop();
  }
});

describe("for a person", () => {
  test("prints what to paste, and it works when pasted", async () => {
    const dataDir = newDataDir();
    const child = spawnVarve(["local", "--port", "0", "--data", dataDir]);
    let stdout = "";
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    try {
      await eventually("the page", () => stdout.includes("Ctrl-C"));
      const curl = /^ +curl [\s\S]*?'\n\n/m.exec(stdout)?.[0] ?? "";
      const hint = /^ +npm run varve -- (changes .*)$/m.exec(stdout)?.[1]?.split(" ") ?? [];
      expect(hint).toEqual(["changes", "--since", "1h", "--data", dataDir]);
      if (spawnSync("curl", ["--version"]).status === 0) {
        expect(execFileSync("sh", ["-c", curl], { encoding: "utf8", stdio: "pipe" })).toBe(
          '{"success":true}',
        );
        await eventually("committed", async () => (await varve(...hint)).stdout.includes("Signed Up"));
      }
      await eventually("the live line", () => /\d events? accepted · .*version \d+/.test(stderr));
    } finally {
      await end(child, "SIGINT");
    }
    expect(child.exitCode).toBe(0);
    expect(processesOf(dataDir).size).toBe(0);
  });

  test("a busy port is named, with what to do", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const dataDir = newDataDir();
    const { code, stdout, stderr } = await varve("local", "--port", String(port), "--data", dataDir);
    server.close();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`Port ${port} is in use`);
    expect(stderr).toContain("--port");
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test.each([
    [["--flush", "soon"], 2, "takes a duration"],
    [["--flush", "1ms"], 2, "takes a duration"],
    [["--port", "99999"], 2, "takes a port from 0 to 65535"],
    [["--port", "1.5"], 2, "takes a port from 0 to 65535"],
    [["--data", "/dev/null/x"], 1, "data directory /dev/null/x"],
  ])("%j is answered in words", async (args, exit, words) => {
    const { code, stderr } = await varve("local", "--data", newDataDir(), ...args);
    expect(code).toBe(exit);
    expect(stderr).toContain(words);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test("the demo says what to run when nothing runs", async () => {
    const { code, stderr } = await runScript("local/demo.ts", "--data", newDataDir());
    expect(code).toBe(1);
    expect(stderr).toContain("npm start");
  });
});
