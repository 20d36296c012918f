/** Making elements. Text goes in as text, never as markup: what is shown was sent by anyone. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined} Child */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Readonly<Record<string, string | number | boolean | undefined>>} [attributes] true: without a value; false: not there
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  dress(made, attributes, children);
  return made;
}

/**
 * @param {string} tag
 * @param {Readonly<Record<string, string | number | boolean | undefined>>} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  dress(made, attributes, children);
  return made;
}

/**
 * @param {Element} made
 * @param {Readonly<Record<string, string | number | boolean | undefined>>} attributes
 * @param {readonly Child[]} children
 */
function dress(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) made.append(child);
}

/** @param {string} id */
export const byId = (id) => typed(id, HTMLElement);

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function typed(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id} that is a ${type.name}`);
  return found;
}

/**
 * @param {HTMLElement} where
 * @param {string} text
 */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/**
 * @param {{ caption: string, columns: readonly string[], rows: readonly (readonly Child[])[], numeric?: readonly number[] }} table
 *   numeric: columns of numbers
 */
export function table({ caption, columns, rows, numeric = [] }) {
  const kind = (/** @type {number} */ at) => (numeric.includes(at) ? "number" : undefined);
  const head = columns.map((name, at) => element("th", { scope: "col", class: kind(at) }, name));
  const body = rows.map((cells) =>
    element(
      "tr",
      {},
      ...cells.map((cell, at) =>
        element(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : undefined, class: kind(at) }, cell),
      ),
    ),
  );
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", { class: "hidden" }, caption),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...body),
    ),
  );
}

/**
 * Fills a `details` when it is open, and not before.
 * @param {HTMLDetailsElement} details
 * @returns {(fill: () => Node) => void}
 */
export function lazily(details) {
  /** @type {(() => Node) | null} */
  let filling = null;
  const show = () => {
    if (!details.open || filling === null) return;
    const made = filling();
    filling = null;
    const focused = details.querySelector(":focus");
    const scrolled = details.querySelector(".scroll")?.scrollTop ?? 0;
    const before = details.querySelector(":scope > :not(summary)");
    if (before === null) details.append(made);
    else before.replaceWith(made);
    const region = details.querySelector(".scroll");
    if (region instanceof HTMLElement) {
      region.scrollTop = scrolled;
      if (focused?.classList.contains("scroll")) region.focus();
    }
  };
  details.addEventListener("toggle", show);
  return (fill) => {
    filling = fill;
    show();
  };
}

/**
 * Radio buttons that look like one control.
 * @param {HTMLElement} fieldset
 * @param {string} name
 * @param {readonly (readonly [value: string, label: string])[]} choices
 * @param {(value: string) => void} chosen
 */
export function choice(fieldset, name, choices, chosen) {
  for (const [at, [value, label]] of choices.entries()) {
    const input = element("input", { type: "radio", name, value, id: `${name}-${value}`, checked: at === 0 });
    input.addEventListener("change", () => chosen(value));
    fieldset.append(input, element("label", { for: `${name}-${value}` }, label));
  }
}
