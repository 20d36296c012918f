/**
 * When a call of the AWS SDK is given up, for a client's `requestHandler`; the SDK then tries again. Its
 * `requestTimeout` would only warn, and not look beyond the answer's headers.
 */
const CONNECTING_MS = 5_000;
const SILENT_MS = 30_000;

/** @param silentMs how long nothing may come or go */
export const timeLimits = (silentMs = SILENT_MS) => ({
  connectionTimeout: CONNECTING_MS,
  socketTimeout: silentMs,
});
