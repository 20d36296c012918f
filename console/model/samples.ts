/** The Prometheus text of this process, read back, and what the console takes from it. Pure. */
export type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** https://prometheus.io/docs/instrumenting/exposition_formats/ Lines that are none of it are passed over. */
export function parseSamples(text: string): readonly Sample[] {
  return text.split("\n").flatMap((line) => {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match === null) return [];
    const [, name = "", labels = "", value] = match;
    const pairs = [...labels.matchAll(LABEL)].map(([, label = "", quoted = ""]) => [
      label,
      quoted.replaceAll(/\\[n"\\]/g, (escaped) => ESCAPES[escaped] ?? escaped),
    ]);
    return [{ name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) }];
  });
}

const total = (samples: readonly Sample[], name: string): number =>
  samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0);

/** The counters of this process at one moment. */
export type Reading = {
  readonly atMs: number;
  /** Calls made again and commits refused since the process started. */
  readonly errors: number;
  readonly workers: number;
  readonly bufferedBytes: number;
  readonly calls: readonly {
    readonly call: string;
    readonly times: number;
    readonly usd: number;
    readonly monthUsd: number;
  }[];
};

export function readingOf(samples: readonly Sample[], atMs: number): Reading {
  const ofCall = (name: string, call: string): number =>
    total(
      samples.filter(({ labels }) => labels["call"] === call),
      name,
    );
  const calls = samples
    .filter(({ name }) => name === "varve_requests_total")
    .map(({ labels, value }) => {
      const call = labels["call"] ?? "";
      return {
        call,
        times: value,
        usd: ofCall("varve_requests_cost_dollars_total", call),
        monthUsd: ofCall("varve_requests_cost_dollars_month", call),
      };
    });
  return {
    atMs,
    errors: total(samples, "varve_retries_total") + total(samples, "varve_conflicts_total"),
    workers: total(samples, "varve_workers"),
    bufferedBytes: total(samples, "varve_buffer_bytes"),
    calls,
  };
}
