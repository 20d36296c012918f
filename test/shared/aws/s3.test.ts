import type { RequestListener } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openS3Store } from "../../../shared/aws/s3.ts";
import type { TestS3 } from "../../support/s3.ts";
import { startS3 } from "../../support/s3.ts";
import { storeContract } from "../store.contract.ts";

type S3Store = ReturnType<typeof openS3Store>;

let s3: TestS3;
let store: S3Store;
beforeAll(async () => {
  s3 = await startS3("some/root/");
  store = openS3Store({ ...s3.config, listPageMax: 5 });
});
afterAll(async () => {
  store.close();
  await s3.stop();
});

storeContract("S3", () => store);

const body = new Uint8Array([1]);

describe("S3: what is wrong is told apart from what is not known", () => {
  test("a wrong secret is an error that says so, whatever is asked", async () => {
    const credentials = { accessKeyId: "local", secretAccessKey: "wrong" };
    const wrong = openS3Store({ ...s3.config, credentials, attemptsMax: 1 });
    const error = { code: "store_unreadable", fix: expect.stringMatching(/secret key is wrong/) };
    await expect(wrong.get("a")).rejects.toMatchObject(error);
    await expect(wrong.put("a", body, { kind: "if-absent" })).rejects.toMatchObject(error);
    await expect(wrong.delete("a")).rejects.toMatchObject(error);
    wrong.close();
  });

  test("a store that is not there: a put is unknown, a get throws", async () => {
    const nowhere = openS3Store({ ...s3.config, endpoint: "http://127.0.0.1:1", attemptsMax: 1 });
    expect((await nowhere.put("a", body, { kind: "if-absent" })).kind).toBe("unknown");
    await expect(nowhere.get("a")).rejects.toMatchObject({ code: "store_unreadable" });
    nowhere.close();
  });

  test("a put that is cut short is unknown", async () => {
    const outcome = await store.put("g/cut", body, { kind: "if-absent" }, AbortSignal.abort());
    expect(outcome.kind).toBe("unknown");
  });
});

describe("S3: a store that falls silent is given up", () => {
  const silent: RequestListener = (request) => void request.resume();
  const half: RequestListener = (request, response) => {
    request.resume();
    response.writeHead(200, { "content-length": "1000", etag: '"e"' });
    response.write("the first bytes");
  };

  async function asking<T>(listener: RequestListener, ask: (from: S3Store) => Promise<T>): Promise<T> {
    const server = createServer(listener).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const endpoint = `http://127.0.0.1:${port}`;
    const asked = openS3Store({ ...s3.config, endpoint, timeoutMs: 200, attemptsMax: 1 });
    try {
      return await ask(asked);
    } finally {
      asked.close();
      server.closeAllConnections();
      server.close();
    }
  }

  test("a put is unknown", async () => {
    expect((await asking(silent, (from) => from.put("a", body, { kind: "if-absent" }))).kind).toBe("unknown");
  });

  test.each([
    ["before its answer", silent],
    ["in the midst of it", half],
  ])("a get throws, %s", async (_, listener) => {
    await expect(asking(listener, (from) => from.get("a"))).rejects.toThrow(/timed? ?out/i);
  });
});

test("S3: roots do not see each other", async () => {
  const other = openS3Store({ ...s3.config, prefix: "other/root/" });
  await store.put("h/mine", body, { kind: "always" });
  expect(await other.get("h/mine")).toBeNull();
  other.close();
});
