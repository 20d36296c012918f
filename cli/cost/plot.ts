/** The price over scale as an SVG: both axes logarithmic, a band from low to high for each store. Pure. */
import { short } from "../../shared/amounts.ts";
import type { ScalePoint } from "../../shared/cost/estimate.ts";
import type { StoreId } from "../../shared/cost/stores.ts";
import { middle } from "../../shared/cost/estimate.ts";

export type PlotInput = {
  readonly points: readonly ScalePoint[];
  /** The workload asked about: marked by a line. */
  readonly changesPerSecond: number;
  readonly subtitle: string;
  readonly asOf: string;
};

const WIDTH = 960;
const HEIGHT = 600;
const LEFT = 84;
const RIGHT = 216;
const TOP = 92;
const BOTTOM = 72;
const LABEL_GAP = 19;

type Series = { readonly id: StoreId; readonly name: string; readonly color: string };
/** Okabe and Ito's colours: told apart by colour-blind readers too. */
const SERIES: readonly Series[] = [
  { id: "index", name: "GSI, keys only", color: "#D55E00" },
  { id: "firehose", name: "Kinesis + Firehose", color: "#CC79A7" },
  { id: "exports", name: "incremental exports", color: "#B8860B" },
  { id: "bigtable", name: "Bigtable", color: "#0072B2" },
  { id: "varve-r2", name: "Varve on R2", color: "#56B4E9" },
  { id: "varve-s3", name: "Varve on S3", color: "#009E73" },
];

type Scale = (value: number) => number;

const logScale =
  (least: number, most: number, from: number, to: number): Scale =>
  (value) =>
    from + ((Math.log10(value) - Math.log10(least)) / (Math.log10(most) - Math.log10(least))) * (to - from);

const powersOfTen = (least: number, most: number): number[] => {
  const powers: number[] = [];
  for (let exponent = Math.ceil(Math.log10(least) - 1e-9); 10 ** exponent <= most * 1.0001; exponent += 1)
    powers.push(10 ** exponent);
  return powers;
};

const at = (value: number): string => value.toFixed(1);

function path(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${at(x)} ${at(y)}`).join("");
}

/** Moves labels apart that would overlap, keeping their order. Takes and gives y positions, ascending. */
export function spreadLabels(wanted: readonly number[], gap: number, least: number, most: number): number[] {
  const placed: number[] = [];
  for (const y of wanted) placed.push(Math.max(y, (placed.at(-1) ?? least - gap) + gap));
  let ceiling = most;
  for (let index = placed.length - 1; index >= 0; index -= 1) {
    placed[index] = Math.min(placed[index] ?? ceiling, ceiling);
    ceiling = (placed[index] ?? ceiling) - gap;
  }
  return placed;
}

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

export function plotSvg({ points, changesPerSecond, subtitle, asOf }: PlotInput): string {
  const rates = points.map((point) => point.changesPerSecond);
  const prices = points.flatMap((point) => Object.values(point.usd).flat());
  const leastUsd = 10 ** Math.floor(Math.log10(Math.max(1, Math.min(...prices))));
  const mostUsd = 10 ** Math.ceil(Math.log10(Math.max(10, ...prices)));
  const x = logScale(Math.min(...rates), Math.max(...rates), LEFT, WIDTH - RIGHT);
  const y = logScale(leastUsd, mostUsd, HEIGHT - BOTTOM, TOP);
  const yOf = (usd: number): number => y(Math.max(leastUsd, usd));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img" aria-labelledby="title desc">`,
    `<title id="title">Monthly price of the changelog over changes a second</title>`,
    `<desc id="desc">${escapeXml(subtitle)}</desc>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="36" font-size="20" font-weight="600" fill="#1b1f24">What a changelog costs a month</text>`,
    `<text x="${LEFT}" y="60" font-size="13" fill="#57606a">${escapeXml(subtitle)}</text>`,
    ...grid(x, y, powersOfTen(Math.min(...rates), Math.max(...rates)), powersOfTen(leastUsd, mostUsd)),
    ...SERIES.map((series) => band(series, points, x, yOf)),
    marker(x(changesPerSecond), `${short(changesPerSecond)}/s`),
    ...SERIES.map((series) => line(series, points, x, yOf)),
    `<text x="${WIDTH - RIGHT + 18}" y="${TOP - 4}" font-size="12" fill="#8b949e">at ${short(changesPerSecond)}/s, a month</text>`,
    ...labels(points, changesPerSecond, yOf),
    `<text x="${LEFT}" y="${HEIGHT - 14}" font-size="11" fill="#8b949e">Prices of ${asOf}. Bands reach from the cheap to the dear end of what is not known; both axes are logarithmic.</text>`,
    "</svg>",
    "",
  ].join("\n");
}

function grid(x: Scale, y: Scale, rates: readonly number[], prices: readonly number[]): string[] {
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  return [
    ...prices.map(
      (usd) =>
        `<line x1="${LEFT}" x2="${right}" y1="${at(y(usd))}" y2="${at(y(usd))}" stroke="#e6e9ed"/><text x="${LEFT - 12}" y="${at(y(usd) + 4)}" text-anchor="end" font-size="12" fill="#57606a">$${short(usd)}</text>`,
    ),
    ...rates.map(
      (rate) =>
        `<line x1="${at(x(rate))}" x2="${at(x(rate))}" y1="${bottom}" y2="${bottom + 5}" stroke="#8b949e"/><text x="${at(x(rate))}" y="${bottom + 20}" text-anchor="middle" font-size="12" fill="#57606a">${short(rate)}</text>`,
    ),
    `<line x1="${LEFT}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="#8b949e"/>`,
    `<text x="${(LEFT + right) / 2}" y="${bottom + 40}" text-anchor="middle" font-size="12" fill="#57606a">changes a second; items grow in proportion</text>`,
  ];
}

function band({ id, color }: Series, points: readonly ScalePoint[], x: Scale, y: Scale): string {
  const high = points.map((point) => [x(point.changesPerSecond), y(point.usd[id][1])] as const);
  const low = points.map((point) => [x(point.changesPerSecond), y(point.usd[id][0])] as const);
  return `<path d="${path([...high, ...low.toReversed()])}Z" fill="${color}" fill-opacity="0.13"/>`;
}

function line({ id, color }: Series, points: readonly ScalePoint[], x: Scale, y: Scale): string {
  const middles = points.map((point) => [x(point.changesPerSecond), y(middle(...point.usd[id]))] as const);
  const width = id === "varve-s3" ? 3.5 : 2;
  return `<path d="${path(middles)}" fill="none" stroke="${color}" stroke-width="${width}" stroke-linejoin="round" stroke-linecap="round"/>`;
}

const marker = (x: number, text: string): string =>
  `<line x1="${at(x)}" x2="${at(x)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" stroke="#57606a" stroke-dasharray="3 4"/><text x="${at(x - 6)}" y="${HEIGHT - BOTTOM - 8}" text-anchor="end" font-size="12" fill="#57606a">${text}</text>`;

/** Each line's name at its end, with its range where the marker stands. */
function labels(points: readonly ScalePoint[], changesPerSecond: number, y: Scale): string[] {
  const last = points.at(-1);
  const here = points.find((point) => point.changesPerSecond >= changesPerSecond) ?? last;
  if (last === undefined || here === undefined) return [];
  const ends = SERIES.map((series) => ({ series, end: y(middle(...last.usd[series.id])) })).toSorted(
    (a, b) => a.end - b.end,
  );
  const places = spreadLabels(
    ends.map(({ end }) => end),
    LABEL_GAP * 2,
    TOP + LABEL_GAP,
    HEIGHT - BOTTOM,
  );
  return ends.map(({ series, end }, index) => {
    const place = places[index] ?? end;
    const left = WIDTH - RIGHT;
    return [
      `<path d="M${left + 2} ${at(end)}L${left + 14} ${at(place)}" stroke="${series.color}" fill="none"/>`,
      `<text x="${left + 18}" y="${at(place)}" font-size="13" fill="${series.color}" font-weight="600">${series.name}</text>`,
      `<text x="${left + 18}" y="${at(place + 15)}" font-size="12" fill="#57606a">${rangeText(...here.usd[series.id])}</text>`,
    ].join("");
  });
}

/** `$457k-1.04M` */
export function rangeText(lowUsd: number, highUsd: number): string {
  const [low, high] = [round(lowUsd), round(highUsd)];
  return low === high ? `$${high}` : `$${low}-${high}`;
}
const round = (usd: number): string =>
  short(usd < 10 ? Number(usd.toPrecision(2)) : Number(usd.toPrecision(3)));
