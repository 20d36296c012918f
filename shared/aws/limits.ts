/**
 * When a call through the SDK is given up as unanswered: once no byte has passed for so long, in either direction.
 * The SDK's own `requestTimeout` only prints a warning, and what a whole call may take depends on its size.
 */
const CONNECTING_MS_MAX = 5_000;
const SILENT_MS_MAX = 30_000;

export type RequestHandlerLimits = { readonly connectionTimeout: number; readonly socketTimeout: number };

export const requestHandlerLimits = (silentMsMax: number = SILENT_MS_MAX): RequestHandlerLimits => ({
  connectionTimeout: CONNECTING_MS_MAX,
  socketTimeout: silentMsMax,
});
