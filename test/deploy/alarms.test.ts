/** The alerts and the dashboard: that every metric they ask for is one that is served, and every alert has its page. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { openPrometheusMetrics } from "../../compactor/metrics.ts";
import { queueMetrics } from "../../deploy/queue-exporter.ts";
import dashboard from "../../deploy/grafana-dashboard.json" with { type: "json" };
import { ROOT } from "./imports.ts";

type Rule = {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: {
    readonly summary: string;
    readonly description: string;
    readonly runbook_url: string;
  };
};

const { groups } = parse(readFileSync(join(ROOT, "deploy/prometheus-rules.yml"), "utf8")) as {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
};
const RULES = groups.flatMap(({ rules }) => rules);
const PANELS = dashboard.panels.filter(({ type }) => type !== "row");
const EXPRESSIONS = [
  ...RULES.map(({ expr }) => expr),
  ...PANELS.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr)),
];

/** By a heading's text, as the pages' links name it. */
const anchors = new Set(
  [...readFileSync(join(ROOT, "docs/alerts.md"), "utf8").matchAll(/^## (\w+)$/gm)].map(([, name = ""]) =>
    name.toLowerCase(),
  ),
);

async function served(): Promise<ReadonlySet<string>> {
  const compactor = await openPrometheusMetrics(() => 0, 1).text();
  const backlog = { messages: 0, bytes: 0 };
  const text = compactor + queueMetrics(backlog, backlog);
  return new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name = ""]) => name));
}

const metricsOf = (expression: string): string[] => expression.match(/varve_\w+/g) ?? [];

test("every metric that is asked for is served", async () => {
  const known = await served();
  for (const expression of EXPRESSIONS) {
    expect(metricsOf(expression).length).toBeGreaterThan(0);
    for (const name of metricsOf(expression)) expect([...known]).toContain(name);
  }
});

test("lag, gaps, conflicts, rejected rate, spill depth, dead letters and iterator age are watched", () => {
  const watched = new Set(RULES.flatMap(({ expr }) => metricsOf(expr)));
  for (const name of [
    "watermark_lag_seconds",
    "gaps_total",
    "conflicts_total",
    "rejected_rows_total",
    "spill_messages",
    "dead_letter_messages",
    "iterator_age_seconds",
  ])
    expect([...watched]).toContain(`varve_${name}`);
});

test("what the log says is not shown before the log is known", async () => {
  const text = await openPrometheusMetrics(() => 0, 1).text();
  expect(text).toMatch(/^varve_commits_total 0$/m);
  for (const name of ["gaps_total", "version", "watermark_lag_seconds", "iterator_age_seconds", "shards"])
    expect(text).not.toMatch(new RegExp(`^varve_${name} `, "m"));
});

test("a process holds bytes in each of its lanes, and no merge is counted before the first", () => {
  const of = (alert: string): string => RULES.find((rule) => rule.alert === alert)?.expr ?? "";
  expect(of("VarveBufferFull")).toContain("sum by (instance) (varve_buffer_bytes)");
  expect(of("VarveMergesStopped")).toContain("or vector(0)");
});

test("expressions are balanced, and what only grows is never shown as it stands", () => {
  for (const expression of EXPRESSIONS) {
    for (const [open, close] of [
      ["(", ")"],
      ["[", "]"],
      ["{", "}"],
    ] as const)
      expect(expression.split(open).length).toBe(expression.split(close).length);
    // Two are gauges: their names were chosen for those who read them.
    const counters = expression.match(/(?<!(?:rate|increase|absent)\()varve_\w+_total/g) ?? [];
    expect(counters.filter((name) => name !== "varve_gaps_total")).toEqual([]);
  }
});

test.each(RULES)("$alert says what it is, and links its page", ({ labels, annotations, expr }) => {
  expect(["critical", "warning", "info"]).toContain(labels.severity);
  expect(annotations.summary).not.toBe("");
  expect(annotations.description).not.toBe("");
  const [page, anchor = ""] = annotations.runbook_url.split("#");
  expect(page).toBe("docs/alerts.md");
  expect([...anchors]).toContain(anchor);
  expect(expr).not.toContain("\n");
});

test("every page is of an alert", () => {
  const linked = new Set(RULES.map(({ annotations }) => annotations.runbook_url.split("#")[1]));
  expect([...anchors].filter((anchor) => !linked.has(anchor))).toEqual([]);
});

test("the codes that the pages have one look for stand in the code", () => {
  const sources = ["shared", "compactor"].flatMap((part) =>
    readdirSync(join(ROOT, part), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(ROOT, part, name), "utf8")),
  );
  const page = readFileSync(join(ROOT, "docs/alerts.md"), "utf8");
  const codes = [...page.matchAll(/`([a-z]+_[a-z]+)`/g)].map(([, code = ""]) => code);
  expect(codes).toContain("unsound_merge");
  for (const code of codes.filter((one) => !one.startsWith("varve_")))
    expect(
      sources.some((text) => text.includes(`"${code}"`)),
      code,
    ).toBe(true);
});

describe("the dashboard", () => {
  test("panels have their own ids and places", () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const taken = new Set<string>();
    for (const { gridPos: at, title } of dashboard.panels) {
      expect(at.x + at.w).toBeLessThanOrEqual(24);
      for (let x = at.x; x < at.x + at.w; x += 1)
        for (let y = at.y; y < at.y + at.h; y += 1) {
          expect(taken.has(`${x},${y}`), `${title} lies on another`).toBe(false);
          taken.add(`${x},${y}`);
        }
    }
  });

  test("panels' links lead to the alerts' pages", () => {
    for (const { links } of PANELS)
      for (const { url } of links ?? []) {
        expect(url).toMatch(/^\$\{docs\}docs\/alerts\.md#/);
        expect([...anchors]).toContain(url.split("#")[1]);
      }
  });
});
