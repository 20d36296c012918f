/** The page's files, read once. Nothing is served that is not named here. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type Asset = { readonly body: Buffer; readonly type: string; readonly etag: string };

const PAGE = join(import.meta.dirname, "page");
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};
const OWN = [
  "index.html",
  "sign-in.html",
  "style.css",
  "icon.svg",
  "app.js",
  "changelog.js",
  "cost.js",
  "dom.js",
  "events.js",
  "flow.js",
  "format.js",
  "locale.js",
  "scale.js",
  "shards.js",
  "theme.js",
] as const;

/** By path. */
export function readAssets(): ReadonlyMap<string, Asset> {
  const uplot = join(dirname(createRequire(import.meta.url).resolve("uplot/package.json")), "dist");
  const files: readonly (readonly [path: string, file: string])[] = [
    ...OWN.map((name) => [`/${name}`, join(PAGE, name)] as const),
    ["/uplot.js", join(uplot, "uPlot.iife.min.js")],
    ["/uplot.css", join(uplot, "uPlot.min.css")],
  ];
  return new Map(files.map(([path, file]) => [path, assetOf(readFileSync(file), path)]));
}

function assetOf(body: Buffer, path: string): Asset {
  return {
    body,
    type: TYPES[path.split(".").at(-1) ?? ""] ?? "application/octet-stream",
    etag: etagOf(body),
  };
}

export const etagOf = (body: Buffer | string): string =>
  `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
