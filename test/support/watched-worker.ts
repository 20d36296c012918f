/** The worker, and a word on stderr for each rejection that nobody handles: workerd itself says nothing of them. */
import worker from "../../edge/worker.ts";

addEventListener("unhandledrejection", (event) => {
  console.error("unhandled rejection", String(event.reason));
});

export default worker;
