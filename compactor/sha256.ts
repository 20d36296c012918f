/**
 * SHA-256 at once, in the thread that asks: the web's would send each few bytes of a signature to another thread and
 * back, which costs more than hashing them.
 */
import { createHash, createHmac } from "node:crypto";
import type { Sha256 } from "../shared/aws/sign.ts";

export const NODE_SHA256: Sha256 = {
  digest: (bytes) => createHash("sha256").update(bytes).digest(),
  keyed: (secret) => (bytes) => createHmac("sha256", secret).update(bytes).digest(),
};
