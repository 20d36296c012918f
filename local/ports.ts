import { createServer } from "node:net";
import { VarveError } from "../shared/errors.ts";

const HOST = "127.0.0.1";
export const PORT_MAX = 65_535;

/** A port nothing listens on now, none of `taken`. */
export async function freePort(taken: ReadonlySet<number> = new Set()): Promise<number> {
  for (;;) {
    const port = await listenBriefly(0);
    if (!taken.has(port)) return port;
  }
}

/** The port as asked for, or any free one for 0. */
export async function claimPort(port: number): Promise<number> {
  try {
    return await listenBriefly(port);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
    throw new VarveError(
      code === "EACCES" ? "port_forbidden" : "port_busy",
      code === "EACCES" ? `Port ${port} needs more rights.` : `Port ${port} is in use by another program.`,
      "Stop that program, or choose another port: --port 8788 (0 picks a free one).",
      error,
    );
  }
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, HOST, () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === "string") reject(new Error("no port"));
        else resolve(address.port);
      });
    });
  });
}
