import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const WORKERD_TESTS = "test/edge/workerd/**/*.test.ts";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          include: ["test/**/*.test.ts"],
          exclude: [WORKERD_TESTS, "test/engines/**"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                DYNAMODB_ENDPOINT: inject("dynamodbEndpoint"),
                AWS_ACCESS_KEY_ID: "local",
                AWS_SECRET_ACCESS_KEY: "local",
                HMAC_SIGNED: "top-secret",
              },
            },
          })),
        ],
        test: {
          name: "edge",
          include: [WORKERD_TESTS],
          globalSetup: ["test/edge/workerd-setup.ts"],
          testTimeout: 30_000,
        },
      },
    ],
  },
});
