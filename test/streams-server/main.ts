/** The server as a process of its own: it tells its parent where it listens, and ends with it. */
import { startStreamsServer } from "./server.ts";

const server = await startStreamsServer({ seed: Number(process.argv[2] ?? 1) });
process.send?.({ endpoint: server.endpoint });
if (process.send === undefined) console.log(server.endpoint);
process.on("disconnect", () => process.exit());
