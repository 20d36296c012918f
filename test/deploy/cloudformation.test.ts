/** The templates: that they hold together, and that they make what Varve rests on. */
import { describe, expect, test } from "vitest";
import { commitKey, consumerKey, checkpointKey, LAST_CHECKPOINT_KEY, dataKey } from "../../shared/keys.ts";
import { actionsCalled, programOf } from "./imports.ts";
import type { Statement, Value } from "./template.ts";
import { actionsOf, objectsIn, propertyOf, readTemplate, statementsOf } from "./template.ts";

const DATA = readTemplate("varve.yaml");
const SERVICE = readTemplate("compactor-service.yaml");

const textOf = (value: Value | undefined): string => (typeof value === "string" ? value : "");

describe.each([
  { name: "varve.yaml", template: DATA },
  { name: "compactor-service.yaml", template: SERVICE },
])("$name", ({ template }) => {
  const resources = new Set(Object.keys(template.Resources));
  const names = new Set([...resources, ...Object.keys(template.Parameters)]);
  const known = (name: string) => names.has(name) || name.startsWith("AWS::");

  test("every reference has its resource, parameter or condition", () => {
    const conditions = Object.keys(template.Conditions ?? {});
    const unknown: unknown[] = [];
    for (const object of objectsIn(template)) {
      const { Ref: ref, "Fn::GetAtt": attribute, "Fn::Sub": sub, "Fn::If": choice } = object;
      if (typeof ref === "string" && !known(ref)) unknown.push(object);
      if (Array.isArray(attribute) && !resources.has(attribute[0] as string)) unknown.push(object);
      if (typeof sub === "string")
        for (const [, name = ""] of sub.matchAll(/\$\{([^}.!]+)[^}]*\}/g))
          if (!known(name)) unknown.push(object);
      if (Array.isArray(choice) && !conditions.includes(choice[0] as string)) unknown.push(object);
    }
    expect(unknown).toEqual([]);
  });

  test("every parameter and condition is used", () => {
    const { Parameters: parameters, ...rest } = template;
    const text = JSON.stringify(rest);
    const unused = Object.keys(parameters).filter(
      (name) => !text.includes(`{"Ref":"${name}"}`) && !text.includes(`\${${name}}`),
    );
    expect(unused).toEqual([]);
    for (const name of Object.keys(template.Conditions ?? {})) expect(text).toContain(`"Fn::If":["${name}"`);
  });

  test("no policy grants a wildcard", () => {
    for (const resource of Object.values(template.Resources)) {
      for (const statement of statementsOf(resource).filter(({ Effect: effect }) => effect === "Allow")) {
        for (const action of actionsOf(statement)) expect(action).toMatch(/^[a-z0-9]+:[A-Za-z0-9]+$/);
        if (statement.Action !== "dynamodb:ListStreams") expect(statement.Resource).not.toBe("*");
      }
    }
  });
});

test("what the service imports, the data stack exports", () => {
  const exported = Object.values(DATA.Outputs).map(
    (output) => output["Export"] as { Name?: Value } | undefined,
  );
  const suffixes = exported.map((one) => {
    const { "Fn::Sub": sub } = (one?.Name ?? {}) as { "Fn::Sub"?: string };
    return textOf(sub).replace("${AWS::StackName}", "");
  });
  for (const object of objectsIn(SERVICE)) {
    const imported = object["Fn::ImportValue"];
    if (imported === undefined) continue;
    const name = (imported as { "Fn::Sub": string })["Fn::Sub"].replace("${DataStack}", "");
    expect(suffixes).toContain(name);
  }
});

test("the table: key, stream, time to live, recovery; it outlives the stack", () => {
  const { Table: table } = DATA.Resources;
  expect(table?.DeletionPolicy).toBe("Retain");
  expect(table?.Properties).toMatchObject({
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    StreamSpecification: { StreamViewType: "NEW_IMAGE" },
    TimeToLiveSpecification: { AttributeName: "expires_at", Enabled: true },
    PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
    DeletionProtectionEnabled: true,
  });
});

test("the bucket: not public, not versioned, cleaned; it outlives the stack", () => {
  const { Bucket: bucket } = DATA.Resources;
  expect(bucket?.DeletionPolicy).toBe("Retain");
  expect(bucket?.Properties).not.toHaveProperty("VersioningConfiguration");
  expect(Object.values(bucket?.Properties?.["PublicAccessBlockConfiguration"] as object)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  const { Rules: rules } = propertyOf(DATA, "Bucket", "LifecycleConfiguration") as {
    Rules: Record<string, Value>[];
  };
  expect(rules).toContainEqual(
    expect.objectContaining({ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } }),
  );
  // Nothing that a commit may name is ever expired, unless that is asked for.
  for (const { Prefix: prefix } of rules.filter(({ ExpirationInDays: days }) => days !== undefined))
    expect(JSON.stringify(prefix)).toMatch(/\/(?:_scratch|workers)\//);
});

const BUCKET_POLICY = statementsOf(DATA.Resources["BucketPolicy"] ?? { Type: "", Properties: {} });

/** Whether the bucket policy denies a put, as S3 evaluates it. */
function deniesPut(key: string, ifNoneMatch: boolean, createsObject = true): boolean {
  const facts: Readonly<Record<string, string | undefined>> = {
    "s3:if-none-match": ifNoneMatch ? "*" : undefined,
    "s3:ObjectCreationOperation": String(createsObject),
    "aws:SecureTransport": "true",
  };
  const holds = ({ Condition: condition = {} }: Statement): boolean =>
    Object.entries(condition).every(([operator, keys]) =>
      Object.entries(keys).every(([name, wanted]) =>
        operator === "Null" ? String(facts[name] === undefined) === wanted : facts[name] === wanted,
      ),
    );
  const covers = ({ Resource: resource }: Statement): boolean =>
    [resource].flat().some((one) => {
      const pattern = (one as { "Fn::Sub"?: string })["Fn::Sub"]?.replace("${Bucket.Arn}/", "") ?? "";
      return new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`).test(key);
    });
  return BUCKET_POLICY.some(
    (statement) =>
      statement.Effect === "Deny" &&
      actionsOf(statement).some((action) => action === "s3:PutObject" || action === "s3:*") &&
      covers(statement) &&
      holds(statement),
  );
}

const CHANGELOG = "varve/us-east-1/varve/";

test("a log entry can only be put if absent; everything else as the code puts it", () => {
  expect(deniesPut(CHANGELOG + commitKey(42), false)).toBe(true);
  expect(deniesPut(CHANGELOG + commitKey(42), true)).toBe(false);
  expect(deniesPut(CHANGELOG + checkpointKey(30), false)).toBe(false);
  expect(deniesPut(CHANGELOG + LAST_CHECKPOINT_KEY, false)).toBe(false);
  expect(deniesPut(CHANGELOG + dataKey(0, 0, "u"), false)).toBe(false);
  expect(deniesPut(CHANGELOG + commitKey(42), false, false)).toBe(false);
});

const allowed = (name: string): string[] =>
  statementsOf(DATA.Resources[name] ?? { Type: "", Properties: {} })
    .flatMap(actionsOf)
    .toSorted();

test.each([
  { who: "EdgeUser", entries: ["edge/worker.ts"] },
  { who: "CompactorRole", entries: ["compactor/main.ts", "compactor/thread.ts"] },
  {
    who: "OperatorPolicy",
    entries: ["verify", "doctor", "forget", "cost", "bootstrap", "vacuum", "status", "sync"].map(
      (name) => `cli/${name}.ts`,
    ),
  },
])("$who may do exactly what its code calls", ({ who, entries }) => {
  expect(allowed(who)).toEqual([...actionsCalled(programOf(...entries))].toSorted());
});

test("the reader may read, keep its own place, and nothing else", () => {
  const reader = statementsOf(DATA.Resources["ReaderRole"] ?? { Type: "" });
  expect(allowed("ReaderRole")).toEqual(["s3:GetObject", "s3:ListBucket", "s3:PutObject"]);
  const puts = reader.find((statement) => actionsOf(statement).includes("s3:PutObject"));
  expect(JSON.stringify(puts?.Resource)).toContain(`/${consumerKey("*")}"`);
  expect([...actionsCalled(programOf("reader/changelog.ts", "shared/aws/s3.ts"))]).toEqual(
    expect.arrayContaining(allowed("ReaderRole")),
  );
});

test("the edge has no right to the changelog, nor the compactor to write to the table", () => {
  expect(allowed("EdgeUser").filter((action) => action.startsWith("s3:"))).toEqual([]);
  expect(
    allowed("CompactorRole").filter((action) => /dynamodb:(?:Put|Update|Delete|Batch)/.test(action)),
  ).toEqual([]);
});

test("the service: not root, read-only, time to drain, nothing comes in", () => {
  const [container] = propertyOf(SERVICE, "TaskDefinition", "ContainerDefinitions") as Record<
    string,
    Value
  >[];
  expect(container).toMatchObject({ User: "10001", ReadonlyRootFilesystem: true, StopTimeout: 30 });
  const group = SERVICE.Resources["SecurityGroup"]?.Properties;
  expect(group?.["SecurityGroupIngress"]).toMatchObject({
    "Fn::If": ["HasMetricsFrom", expect.anything(), { Ref: "AWS::NoValue" }],
  });
});
