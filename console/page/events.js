/** The event debugger: the newest rows, filtered, each with its JSON. */
/** @import { EventLine, Events } from "../state.ts" */
import { byId, choice, element, say, typed } from "./dom.js";
import { clock, count, many, moment } from "./format.js";

const SHOWN_MAX = 200;
const STATUS = /** @type {const} */ ({
  accepted: "accepted",
  rejected: "rejected",
  object: "object",
  change: "change",
});

/** @type {Map<number, EventLine>} */
const lines = new Map();
/** Made once for each line, so that what is open or focused stays so. @type {Map<number, HTMLTableRowElement[]>} */
const rows = new Map();
/** Lower-case text of a line, for the filter. @type {Map<number, string>} */
const texts = new Map();
/** @type {Set<string>} */
const sources = new Set();
let status = "all";
let paused = false;
let waiting = 0;
let skipped = 0;
let keptMax = 0;

export function startEvents() {
  const filter = byId("events-filter");
  choice(
    byId("events-status"),
    "status",
    [
      ["all", "All"],
      ["accepted", "Accepted"],
      ["rejected", "Rejected"],
      ["object", "Objects"],
    ],
    (value) => {
      status = value;
      refilter();
    },
  );
  byId("events-tools").addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", refilter);
  byId("events-source").append(element("option", { value: "" }, "all"));
  byId("events-source").addEventListener("change", refilter);
  byId("events-pause").addEventListener("click", () => {
    paused = !paused;
    if (!paused) waiting = 0;
    byId("events-pause").setAttribute("aria-pressed", String(paused));
    render();
  });
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const isTyping =
      at instanceof HTMLInputElement || at instanceof HTMLSelectElement || at instanceof HTMLTextAreaElement;
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    filter.focus();
  });
  byId("events-rows").addEventListener("keydown", moveBetweenRows);
  render();
}

/** What the filter finds is said; what merely arrives is not. */
function refilter() {
  render();
  const shown = byId("events-rows").querySelectorAll(".event").length;
  say(byId("events-said"), `${many(shown, "row")} shown`);
}

/** @param {KeyboardEvent} event */
function moveBetweenRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined || !(event.target instanceof HTMLElement) || !event.target.matches(".open")) return;
  const buttons = [...byId("events-rows").querySelectorAll(".open")];
  const at = Math.min(buttons.length - 1, Math.max(0, buttons.indexOf(event.target) + step));
  const next = buttons[at];
  if (next instanceof HTMLElement) next.focus();
  event.preventDefault();
}

/** @param {Events} news */
export function addEvents(news) {
  keptMax = news.keptMax;
  skipped = news.filesSkipped;
  for (const line of news.events) {
    lines.set(line.n, line);
    texts.set(line.n, textOf(line));
    if (line.source !== null && !sources.has(line.source)) {
      sources.add(line.source);
      byId("events-source").append(element("option", { value: line.source }, line.source));
    }
  }
  forgetOld();
  if (paused) waiting += news.events.length;
  if (news.events.length > 0 || lines.size === 0) render();
}

export function forgetEvents() {
  for (const map of [lines, rows, texts]) map.clear();
  waiting = 0;
  paused = false;
  byId("events-pause").setAttribute("aria-pressed", "false");
  render();
}

/** As the server does: the newest of each status are kept. */
function forgetOld() {
  for (const group of Map.groupBy(lines.values(), (line) => line.status).values()) {
    for (const { n } of newestFirst(group).slice(keptMax)) {
      if (rows.get(n)?.some((row) => row.contains(document.activeElement)) === true) continue;
      for (const row of rows.get(n) ?? []) row.remove();
      for (const map of [lines, rows, texts]) map.delete(n);
    }
  }
}

/** @param {readonly EventLine[]} some */
const newestFirst = (some) => some.toSorted((a, b) => b.changedMs - a.changedMs || b.n - a.n);

/** @param {EventLine} line */
const textOf = ({ source, type, name, user, id, reason, json, status: kind }) =>
  [kind, source, type, name, user, id, reason?.code, reason?.message, json].join("\n").toLowerCase();

function wanted() {
  const asked = typed("events-filter", HTMLInputElement)
    .value.toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const source = typed("events-source", HTMLSelectElement).value;
  return newestFirst([...lines.values()]).filter(
    (line) =>
      (status === "all" || line.status === status) &&
      (source === "" || line.source === source) &&
      asked.every((word) => texts.get(line.n)?.includes(word)),
  );
}

/** @type {ReadonlySet<number>} */
let frozen = new Set();

function render() {
  const body = byId("events-rows");
  if (!paused) frozen = new Set(lines.keys());
  const found = wanted().filter(({ n }) => frozen.has(n));
  const shown = found.slice(0, SHOWN_MAX);
  /** @type {Element | null} */
  let at = body.firstElementChild;
  for (const line of shown) {
    for (const row of rowsOf(line)) {
      if (row === at) at = at.nextElementSibling;
      else body.insertBefore(row, at);
    }
  }
  while (at !== null) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
  say(byId("events-pause"), paused ? `Resume${waiting > 0 ? ` (${count(waiting)} new)` : ""}` : "Pause");
  const total = lines.size;
  const told = [
    total === 0 ? "" : `${count(shown.length)} of the newest ${count(total)} rows`,
    skipped === 0 ? "" : `${many(skipped, "file")} of recent commits not looked into`,
  ];
  say(byId("events-count"), told.filter((text) => text !== "").join("; "));
  const empty = byId("events-empty");
  empty.hidden = shown.length > 0;
  say(
    empty,
    total === 0
      ? "Nothing yet. What is posted to the edge shows here once it is committed."
      : "No row fits the filter.",
  );
}

/** @param {EventLine} line */
function rowsOf(line) {
  const made = rows.get(line.n) ?? makeRows(line);
  rows.set(line.n, made);
  return made;
}

/** @param {EventLine} line @returns {HTMLTableRowElement[]} */
function makeRows(line) {
  const detailId = `event-${line.n}`;
  const open = element(
    "button",
    { type: "button", class: "open", "aria-expanded": "false", "aria-controls": detailId },
    element("span", { class: "caret", "aria-hidden": true }),
    element(
      "time",
      { datetime: new Date(line.changedMs).toISOString(), title: moment(line.changedMs) },
      clock(line.changedMs),
    ),
  );
  const cell = (/** @type {string} */ name, /** @type {string | null} */ text) =>
    element("td", { class: name, "data-label": name, title: text ?? undefined }, text ?? "");
  const reason = line.reason === null ? null : `${line.reason.code}: ${line.reason.message}`;
  const row = element(
    "tr",
    { class: `event ${line.status}` },
    element("th", { scope: "row" }, open),
    element(
      "td",
      { class: "status" },
      element(
        "span",
        { class: `mark ${line.status}` },
        line.op === "delete" ? "deleted" : STATUS[line.status],
      ),
    ),
    cell("source", line.source),
    cell("type", line.type),
    cell("name", line.name),
    cell("user", line.user),
    cell("reason", reason),
  );
  const detail = element("tr", { class: "detail", id: detailId, hidden: true });
  const toggle = () => {
    const opens = detail.hidden;
    if (opens && detail.childElementCount === 0)
      detail.append(element("td", { colspan: 7 }, ...detailOf(line)));
    detail.hidden = !opens;
    open.setAttribute("aria-expanded", String(opens));
  };
  open.addEventListener("click", toggle);
  row.addEventListener("click", (event) => {
    const isText = (getSelection()?.toString() ?? "") !== "";
    if (!isText && event.target instanceof Element && event.target.closest("button") === null) toggle();
  });
  return [row, detail];
}

/** @param {EventLine} line @returns {Node[]} */
function detailOf(line) {
  const facts = /** @type {[string, string | null][]} */ ([
    ["id", line.id],
    ["change", line.op],
    ["changed", new Date(line.changedMs).toISOString()],
    ["shard", line.shard],
    ["sequence number", line.seq.replace(/^0+(?=\d)/, "")],
  ]);
  const list = element(
    "dl",
    { class: "facts" },
    ...facts
      .filter(([, value]) => value !== null)
      .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
  if (line.json === null) return [list, element("p", { class: "empty" }, "A delete holds no content.")];
  const copy = element("button", { type: "button", class: "quiet" }, "Copy JSON");
  copy.addEventListener("click", () => {
    void navigator.clipboard.writeText(line.json ?? "").then(
      () => say(copy, "Copied"),
      () => say(copy, "Not allowed here"),
    );
  });
  const note = line.cut
    ? element("p", { class: "note" }, "It is longer than this: only its beginning is shown.")
    : null;
  return [
    element("div", { class: "bar" }, list, copy),
    ...(note === null ? [] : [note]),
    jsonView(line.json),
  ];
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** @param {string} text */
function jsonView(text) {
  const view = element("pre", { class: "json", tabindex: 0, role: "region", "aria-label": "JSON" });
  let pretty = text;
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Cut, or no JSON: as it is.
  }
  let at = 0;
  for (const match of pretty.matchAll(TOKEN)) {
    const [whole, string, colon] = match;
    view.append(pretty.slice(at, match.index));
    const kind =
      string === undefined
        ? /^[tfn]/.test(whole)
          ? "word"
          : "figure"
        : colon === undefined
          ? "string"
          : "name";
    view.append(element("span", { class: kind }, string ?? whole), colon ?? "");
    at = match.index + whole.length;
  }
  view.append(pretty.slice(at));
  return view;
}
