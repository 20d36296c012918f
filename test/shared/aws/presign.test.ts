import { expect, test } from "vitest";
import { URL_VALID_MS, openPresigner } from "../../../shared/aws/presign.ts";
import { openS3Store } from "../../../shared/aws/s3.ts";
import { startS3 } from "../../support/s3.ts";

const NOW = Date.UTC(2026, 10, 23, 9);
const CREDENTIALS = { accessKeyId: "AKID", secretAccessKey: "secret" };
const AWS = { bucket: "events", prefix: "p/eu-west-1/items/", region: "eu-west-1" };

test.each([
  [AWS, "https://events.s3.eu-west-1.amazonaws.com/p/eu-west-1/items/data/dt%3D1.parquet"],
  [{ ...AWS, bucket: "a.b" }, "https://s3.eu-west-1.amazonaws.com/a.b/p/eu-west-1/items/data/dt%3D1.parquet"],
  [
    { ...AWS, region: "cn-north-1" },
    "https://events.s3.cn-north-1.amazonaws.com.cn/p/eu-west-1/items/data/dt%3D1.parquet",
  ],
  [
    { ...AWS, region: "auto", endpoint: "https://account.r2.example/" },
    "https://account.r2.example/events/p/eu-west-1/items/data/dt%3D1.parquet",
  ],
])("%j is asked at %s", async (config, address) => {
  const presign = await openPresigner({ ...config, credentials: CREDENTIALS });
  const url = new URL(await presign("data/dt=1.parquet", NOW));
  expect(url.origin + url.pathname).toBe(address);
  expect(Object.fromEntries(url.searchParams)).toMatchObject({
    "X-Amz-Date": "20261123T090000Z",
    "X-Amz-Expires": "3600",
    "X-Amz-Credential": `AKID/20261123/${config.region}/s3/aws4_request`,
    "X-Amz-SignedHeaders": "host",
  });
});

test("the credentials that the SDK finds bring their session token", async () => {
  const presign = await openPresigner(AWS, async () => ({ ...CREDENTIALS, sessionToken: "token/+=" }));
  const { searchParams } = new URL(await presign("x", NOW));
  expect(searchParams.get("X-Amz-Security-Token")).toBe("token/+=");
});

test("without credentials it says which to set", async () => {
  const none = openPresigner(AWS, () => Promise.reject(new Error("Could not load credentials")));
  await expect(none).rejects.toMatchObject({
    code: "no_credentials",
    fix: expect.stringContaining("S3_ACCESS_KEY_ID"),
  });
});

test("an S3 gives what is signed, for as long as it is valid, and nothing else", async () => {
  const { config, stop } = await startS3("a b+c/eu/items/");
  const store = openS3Store(config);
  try {
    const presign = await openPresigner(config);
    for (const key of ["data/dt=2026-11-23/0-x.parquet", "odd +&!'()*~%41.parquet"]) {
      await store.put(key, new TextEncoder().encode(key), { kind: "always" });
      const url = await presign(key, Date.now());
      const answer = await fetch(url);
      expect([answer.status, await answer.text()]).toEqual([200, key]);
      const refused = {
        forged: url.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
        prolonged: url.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000"),
        "another's": url.replace(".parquet", ".json"),
        expired: await presign(key, Date.now() - URL_VALID_MS - 1000),
      };
      for (const [what, wrong] of Object.entries(refused)) {
        expect([what, (await fetch(wrong)).status]).toEqual([what, 403]);
      }
    }
  } finally {
    store.close();
    await stop();
  }
});
