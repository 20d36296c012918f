import { Validator } from "@cfworker/json-schema";
import { exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { identifyBatch, trackBatch } from "../../../bench/edge-bodies.ts";
import { post, useSource } from "./client.ts";

const KEY = "wk-openapi";
type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>> };

let document: Document;
beforeAll(async () => {
  await useSource(KEY, { id: "openapi" });
  document = await (await exports.default.fetch("http://edge/openapi.json")).json<Document>();
});

const isValid = (name: string, value: unknown): boolean =>
  new Validator({ ...document, $ref: `#/components/schemas/${name}` }, "2020-12").validate(value).valid;

test("each path is there, takes the method that is told of it, and says so to others", async () => {
  const paths = Object.entries(document.paths);
  expect(paths.map(([path]) => path)).toEqual(
    expect.arrayContaining([
      "/v1/batch",
      "/v1/t",
      "/v1/set",
      "/v1/m",
      "/rsaMetrics",
      "/beacon/v1/batch",
      "/v1/projects/{key}/settings",
      "/sourceConfig",
      "/healthz",
    ]),
  );
  for (const [path, item] of paths) {
    const methods = Object.keys(item).map((method) => method.toUpperCase());
    for (const method of ["GET", "POST", "PUT"]) {
      const request = { method, ...(method === "GET" ? {} : { body: "{}" }) };
      const response = await exports.default.fetch(`http://edge${path.replace("{key}", KEY)}`, request);
      await response.arrayBuffer();
      const taken = methods.includes(method);
      expect([path, method, response.status === 405]).toEqual([path, method, !taken]);
      if (!taken) expect(response.headers.get("Allow")?.split(", ")).toEqual(expect.arrayContaining(methods));
    }
  }
});

test("the batches of SDKs are as it says", () => {
  for (const batch of [trackBatch(0), identifyBatch(0, 10)])
    expect(isValid("Batch", JSON.parse(batch.body))).toBe(true);
});

const event = (more: object): object => ({ type: "track", event: "Paid", userId: "u", ...more });

describe("the document and the edge say the same of an event in a batch", () => {
  test.each<[string, object]>([
    ["that is plain", event({})],
    ["with what PHP and Python say of nothing", event({ properties: [], context: null, anonymousId: null })],
    ["whose ids are numbers", event({ userId: 5, messageId: 12 })],
    ["of nobody", event({ userId: undefined })],
    ["of nobody, in so many words", event({ userId: "", anonymousId: null })],
    ["without a type", event({ type: undefined })],
    ["of another type", event({ type: "nope" })],
    ["without a name", event({ event: undefined })],
    ["with a long messageId", event({ messageId: "x".repeat(101) })],
    ["with a list of properties", event({ properties: [1] })],
    ["page", { type: "page", anonymousId: "a", name: null }],
    ["screen with a number for a name", { type: "screen", anonymousId: "a", name: 5 }],
    ["identify", { type: "identify", userId: "u", traits: { a: 1 } }],
    ["group", { type: "group", userId: "u", groupId: 5 }],
    ["group without its id", { type: "group", userId: "u" }],
    ["alias", { type: "alias", userId: "u", previousId: "p" }],
    ["alias of one id", { type: "alias", userId: "u" }],
  ])("%s", async (_, sent) => {
    const body = JSON.parse(JSON.stringify({ batch: [sent] })) as object;
    const answer = await post("/v1/batch", body, KEY);
    expect(isValid("Accepted", answer.body)).toBe(true);
    expect(isValid("Batch", body)).toBe(answer.body["rejected"] === undefined);
  });

  test.each<[string, object]>([
    ["a number of many digits", { id: 5, properties: { a: 1, b: null, c: "x", d: true } }],
    ["nothing said of it", { id: "1", properties: null }],
    ["an empty id", { id: "" }],
    ["a list in it", { id: "1", properties: { a: [] } }],
  ])("and of an object: %s", async (_, sent) => {
    const body = { collection: "rooms", objects: [sent] };
    const answer = await post("/v1/set", body, KEY);
    expect(isValid("Set", body)).toBe(answer.body["rejected"] === undefined);
  });
});

test.each(["/v1/track", "/v1/batch", "/v1/nothing"])("an error is as it says: %s", async (path) => {
  expect(isValid("Error", (await post(path, "{", KEY)).body)).toBe(true);
});
