/** An endpoint that takes connections and says no more than it was told to. */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export type Silent = { readonly endpoint: string; readonly stop: () => Promise<void> };

/** @param said the beginning of each answer */
export async function startSilent(said = ""): Promise<Silent> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => void socket.write(said));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
