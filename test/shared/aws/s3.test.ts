import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openS3Store } from "../../../shared/aws/s3.ts";
import type { TestS3 } from "../../support/s3.ts";
import { startS3 } from "../../support/s3.ts";
import { startSilent } from "../../support/silent.ts";
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

  test.each([
    ["says nothing", ""],
    ["stops in the midst of an answer", 'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 9\r\n\r\nabc'],
  ])("a store that %s is not waited for", async (_, said) => {
    const { endpoint, stop } = await startSilent(said);
    const silent = openS3Store({ ...s3.config, endpoint, timeoutMs: 200, attemptsMax: 1 });
    expect((await silent.put("a", body, { kind: "if-absent" })).kind).toBe("unknown");
    await expect(silent.get("a")).rejects.toMatchObject({ code: "store_unreadable" });
    await expect(silent.delete("a")).rejects.toMatchObject({ code: "store_unreadable" });
    await expect(Array.fromAsync(silent.list("a"))).rejects.toMatchObject({ code: "store_unreadable" });
    silent.close();
    await stop();
  });

  test("a put that is cut short is unknown", async () => {
    const outcome = await store.put("g/cut", body, { kind: "if-absent" }, AbortSignal.abort());
    expect(outcome.kind).toBe("unknown");
  });
});

test("S3: roots do not see each other", async () => {
  const other = openS3Store({ ...s3.config, prefix: "other/root/" });
  await store.put("h/mine", body, { kind: "always" });
  expect(await other.get("h/mine")).toBeNull();
  other.close();
});
