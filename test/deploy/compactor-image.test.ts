/** The compactor's image and its Kubernetes manifest, checked against the code that runs in them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import packageJson from "../../package.json" with { type: "json" };
import { parseCompactorConfig } from "../../shared/config.ts";
import { programOf, ROOT } from "./imports.ts";
import { propertyOf, readTemplate } from "./template.ts";

const DOCKERFILE = readFileSync(join(ROOT, "deploy/Dockerfile"), "utf8");
const IGNORE = readFileSync(join(ROOT, "deploy/Dockerfile.dockerignore"), "utf8");
const program = programOf("deploy/compactor.ts", "deploy/healthcheck.ts", "compactor/thread.ts");

test("the image has every package that the compactor imports", () => {
  const deleted = [...DOCKERFILE.matchAll(/dependencies\.(\S+)/g)].map(([, name]) => name);
  const kept = Object.keys(packageJson.dependencies).filter((name) => !deleted.includes(name));
  expect(kept).toEqual(expect.arrayContaining([...program.packages]));
  // What is left out must be a dependency: otherwise its name is out of date.
  for (const name of deleted) expect(Object.keys(packageJson.dependencies)).toContain(name);
});

test("the image has every file that the compactor imports", () => {
  const copied = [...DOCKERFILE.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = ""]) =>
    paths.split(" "),
  );
  const sent = IGNORE.split("\n").flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));
  for (const file of program.files) {
    expect(copied.some((path) => file === path || file.startsWith(`${path}/`))).toBe(true);
  }
  expect(sent).toEqual(expect.arrayContaining(copied));
  for (const path of copied) expect(existsSync(join(ROOT, path))).toBe(true);
});

test("the image does not run as root, and says how it is", () => {
  const lines = DOCKERFILE.split("\n");
  expect(lines).toContain("USER 10001");
  expect(lines.some((line) => line.startsWith("HEALTHCHECK"))).toBe(true);
  for (const from of lines.filter((line) => line.startsWith("FROM"))) expect(from).toMatch(/^FROM node:24-/);
});

type Manifest = { readonly kind: string; readonly [name: string]: unknown };
const MANIFESTS = parseAllDocuments(readFileSync(join(ROOT, "deploy/kubernetes/compactor.yaml"), "utf8")).map(
  (document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  },
);
const manifest = (kind: string): Manifest => MANIFESTS.find((one) => one.kind === kind) ?? { kind: "absent" };

test("the pods are confined, drain before they end, and start before others stop", () => {
  expect(manifest("Deployment")).toMatchObject({
    spec: {
      strategy: { rollingUpdate: { maxUnavailable: 0 } },
      template: {
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 30,
          securityContext: { runAsNonRoot: true, runAsUser: 10_001 },
          containers: [
            {
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ["ALL"] },
              },
              livenessProbe: { httpGet: { path: "/healthz" } },
            },
          ],
        },
      },
    },
  });
});

test("the manifest's and the service's settings are ones that the compactor takes", () => {
  const { data } = manifest("ConfigMap") as unknown as { data: Record<string, string> };
  expect(parseCompactorConfig(data)).toMatchObject({ VARVE_FLUSH: 60_000, VARVE_METRICS: { port: 9464 } });
  const service = readTemplate("compactor-service.yaml");
  const [container] = propertyOf(service, "TaskDefinition", "ContainerDefinitions") as {
    Environment: { Name: string }[];
  }[];
  expect(container?.Environment.map(({ Name: name }) => name)).toEqual(Object.keys(data));
  for (const name of ["Flush", "Retention"]) {
    const value = service.Parameters[name]?.["Default"];
    expect(typeof value).toBe("string");
    expect(parseCompactorConfig({ ...data, [`VARVE_${name.toUpperCase()}`]: value as string })).toBeDefined();
  }
});
