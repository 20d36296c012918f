/**
 * What SDKs fetch before they send: Segment's settings (analytics-next, Swift, Kotlin, React Native, C#) and
 * Rudder's sourceConfig. The least that makes each start and send here.
 */
import type { Source } from "./sources.ts";

/** `url` is where the SDK reached us, which is where it shall send. */
export function segmentSettings(writeKey: string, url: URL): object {
  // SDKs take https for granted; on one machine there is none.
  const protocol = url.protocol === "http:" ? { protocol: "http" } : {};
  return {
    integrations: {
      "Segment.io": {
        apiKey: writeKey,
        apiHost: `${url.host}/v1`,
        ...protocol,
        unbundledIntegrations: [],
        addBundledMetadata: true,
        versionSettings: { version: "4.4.7", componentTypes: ["browser"] },
      },
    },
    plan: {
      track: { __default: { enabled: true } },
      identify: { __default: { enabled: true } },
      group: { __default: { enabled: true } },
    },
    edgeFunction: {},
    middlewareSettings: {},
    enabledMiddleware: {},
    metrics: { sampleRate: 0 },
    legacyVideoPluginsEnabled: false,
    remotePlugins: [],
    // Without it Swift drops nothing but a 400, and asks for ever.
    httpConfig: {
      rateLimitConfig: {
        enabled: true,
        maxRetryCount: 100,
        maxRetryInterval: 300,
        maxRateLimitDuration: 43_200,
      },
      backoffConfig: {
        enabled: true,
        maxRetryCount: 100,
        baseBackoffInterval: 0.5,
        maxBackoffInterval: 300,
        maxTotalBackoffDuration: 43_200,
        jitterPercent: 10,
      },
    },
  };
}

export function rudderSourceConfig(source: Source, writeKey: string): object {
  return {
    source: {
      id: source.id,
      name: source.name,
      writeKey,
      enabled: true,
      workspaceId: "varve",
      destinations: [],
      connections: [],
      config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } },
      dataplanes: {},
    },
    updatedAt: "2026-01-01T00:00:00.000Z",
    isHosted: true,
  };
}
