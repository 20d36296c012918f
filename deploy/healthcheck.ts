/** Exit code 0 while the compactor says that it is healthy: it has committed lately. */
const port = /(\d+)$/.exec(process.env["VARVE_METRICS"] ?? "")?.[1] ?? "9464";
const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(4_000) }).catch(
  () => null,
);
process.exitCode = answer?.ok === true ? 0 : 1;
