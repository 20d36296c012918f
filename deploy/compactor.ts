/** The compactor alone, without the other commands: what the container runs. */
import { compactorMain } from "../compactor/main.ts";
import { describeError, VarveError } from "../shared/errors.ts";

const stopping = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stopping.abort());

try {
  await compactorMain(process.env, stopping.signal);
} catch (error) {
  const code = error instanceof VarveError ? `${error.code}: ` : "";
  console.error(`varve: ${code}${describeError(error)}`);
  if (!(error instanceof VarveError) && error instanceof Error) console.error(error.stack);
  process.exitCode = 1;
}
