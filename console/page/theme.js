/** Dark or light: as the system has it, or as was chosen here. */
import { byId } from "./dom.js";

const KEY = "varve.theme";
const NEXT = /** @type {const} */ ({ auto: "light", light: "dark", dark: "auto" });

/** @typedef {keyof typeof NEXT} Theme */

/** @returns {Theme} */
function kept() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** @param {() => void} changed */
export function startTheme(changed) {
  const button = byId("theme");
  let theme = kept();
  const apply = () => {
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Then it holds for this visit.
    }
    apply();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  apply();
}

/**
 * As it is at this moment: of a custom property itself `light-dark(…)` is all that can be read.
 * @param {string} name of a custom property
 */
export function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
