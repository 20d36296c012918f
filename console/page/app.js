/** The console's page: asks for the state each second, and shows what has changed. */
/** @import { Events, State } from "../state.ts" */
import { byId, element, say } from "./dom.js";
import { showChangelog, startChangelog } from "./changelog.js";
import { showCost } from "./cost.js";
import { addEvents, forgetEvents, startEvents } from "./events.js";
import { recolourFlow, showFlow, showTiles, startFlow } from "./flow.js";
import { clock, count, duration } from "./format.js";
import { showShards, startShards } from "./shards.js";
import { startTheme } from "./theme.js";

const POLL_MS = 1_000;
const POLL_FAILED_MS = 3_000;
/** As the alert VarveWatermarkBehind has it. */
const LATE_MS = 900_000;
/** The pictures move with the clock, too. */
const REDRAW_MS = 10_000;

let etag = "";
/** @type {State | null} */
let state = null;
/** The server's clock less this one's. */
let aheadMs = 0;
let lastEvent = 0;
let eventsRun = "";
let redrawnMs = 0;
let failedMs = 0;

const nowMs = () => Date.now() + aheadMs;

/** @param {string} path @param {Record<string, string>} [headers] */
async function ask(path, headers = {}) {
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "same-origin" });
  const served = Number(answer.headers.get("varve-now"));
  if (served > 0) aheadMs = served - Date.now();
  if (answer.status === 401) location.reload();
  if (!answer.ok && answer.status !== 304) throw new Error(`it answers ${answer.status}`);
  return answer;
}

async function look() {
  const answer = await ask("/api/state", etag === "" ? {} : { "if-none-match": etag });
  if (answer.status === 200) {
    etag = answer.headers.get("etag") ?? "";
    state = /** @type {State} */ (await answer.json());
    show(state);
  }
  const ofRun = async () =>
    /** @type {Events} */ (await (await ask(`/api/events?after=${lastEvent}`)).json());
  let news = await ofRun();
  if (news.run !== eventsRun) {
    // Its process was started again, and counts anew.
    eventsRun = news.run;
    if (lastEvent > 0) {
      forgetEvents();
      lastEvent = 0;
      news = await ofRun();
    }
  }
  lastEvent = news.last;
  addEvents(news);
}

/** @param {State} next */
function show(next) {
  say(byId("address"), next.changelog);
  showFlow(next);
  showPictures(next);
}

/** @param {State} next */
function showPictures(next) {
  redrawnMs = Date.now();
  showChangelog(next, nowMs());
  showShards(next, nowMs());
  showCost(next, nowMs());
}

function showTime() {
  if (state === null) return;
  showTiles(state, nowMs());
  if (Date.now() - redrawnMs > REDRAW_MS) showPictures(state);
  const { log, problem } = state;
  const health = byId("health");
  if (failedMs > 0) return;
  const lagMs = log === null || log.watermarkMs === 0 ? null : Math.max(0, nowMs() - log.watermarkMs);
  health.dataset["state"] = problem !== null ? "trouble" : stateOf(lagMs);
  say(
    byId("health-text"),
    problem !== null
      ? "trouble"
      : lagMs === null
        ? "waiting for the first commit"
        : `complete up to ${duration(Math.round(lagMs / 100) * 100)} ago · version ${count(log?.version)}`,
  );
  tell(problem);
}

/** @param {number | null} lagMs */
const stateOf = (lagMs) => (lagMs === null ? "waiting" : lagMs > LATE_MS ? "late" : "live");

/** @param {{ message: string, fix: string, sinceMs: number } | null} problem */
function tell(problem) {
  const where = byId("problem");
  const text = problem === null ? "" : `${problem.message}\n${problem.fix}`;
  if (where.dataset["text"] === text) return;
  where.dataset["text"] = text;
  where.hidden = problem === null;
  where.replaceChildren(
    ...(problem === null
      ? []
      : [
          element("strong", {}, problem.message.charAt(0).toUpperCase() + problem.message.slice(1)),
          element("span", {}, problem.fix),
          element("span", {}, `Since ${clock(problem.sinceMs)}. It is tried again by itself.`),
        ]),
  );
}

async function run() {
  for (;;) {
    let waitMs = POLL_MS;
    if (!document.hidden) {
      try {
        await look();
        failedMs = 0;
      } catch (error) {
        waitMs = POLL_FAILED_MS;
        failedMs = failedMs === 0 ? nowMs() : failedMs;
        byId("health").dataset["state"] = "trouble";
        say(byId("health-text"), "no answer");
        const why = error instanceof Error ? error.message : String(error);
        tell({
          message: `The process that serves this page does not answer: ${why}.`,
          fix: "What is shown is what it last said. Is it still running?",
          sinceMs: failedMs,
        });
      }
      showTime();
    }
    await new Promise((resolve) => {
      setTimeout(resolve, waitMs);
    });
  }
}

startTheme(recolourFlow);
startFlow();
startEvents();
startChangelog();
startShards();
void run();
