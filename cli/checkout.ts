/** What the packed library does not hold: the edge, and what runs it on one machine. */
import { VarveError } from "../shared/errors.ts";

const isCompiled = !import.meta.filename.endsWith(".ts");

/** Throws `needs_checkout` where the code runs as the package has it. */
export function requireCheckout(): void {
  if (!isCompiled) return;
  throw new VarveError(
    "needs_checkout",
    "the installed package does not hold the edge and what runs it on one machine.",
    "Clone Varve's repository, and run it there: `npm install && npm start`, or `npm run varve -- <command>`. `local` and `sources` need that, the other commands do not.",
  );
}
