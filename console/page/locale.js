/**
 * A classic script, before uPlot, which asks for the language as it loads: without a locale of the system's, Chromium's
 * is one that Intl refuses (`en-US@posix`), and there would be no charts.
 */
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US", configurable: true });
}
