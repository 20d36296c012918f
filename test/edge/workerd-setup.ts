/** Runs in Node before the tests inside workerd, which cannot start a process. */
import type { TestProject } from "vitest/node";
import { startDynoxide } from "../support/dynoxide.ts";

declare module "vitest" {
  interface ProvidedContext {
    dynamodbEndpoint: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dynamo = await startDynoxide();
  project.provide("dynamodbEndpoint", dynamo.endpoint);
  return dynamo.stop;
}
