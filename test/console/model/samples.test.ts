import { describe, expect, test } from "vitest";
import { parseSamples, readingOf } from "../../../console/model/samples.ts";

describe("the process's own counters", () => {
  const TEXT = `# HELP varve_requests_total Calls made
# TYPE varve_requests_total counter
varve_requests_total{call="S3 PUT"} 12
varve_requests_cost_dollars_total{call="S3 PUT"} 0.00006
varve_requests_cost_dollars_month{call="S3 PUT"} 1.5
varve_retries_total{call="S3 GET"} 2
varve_conflicts_total 1
varve_workers 3
varve_buffer_bytes{lane="0"} 10
varve_buffer_bytes{lane="1"} 1e3
odd{label="a\\"b\\\\c\\nd"} +Inf 1700000000000
not a sample
`;

  test("are read from Prometheus's text", () => {
    expect(readingOf(parseSamples(TEXT), 5)).toEqual({
      atMs: 5,
      errors: 3,
      workers: 3,
      bufferedBytes: 1_010,
      calls: [{ call: "S3 PUT", times: 12, usd: 0.000_06, monthUsd: 1.5 }],
    });
  });

  test("labels are unescaped, what is no sample is passed over", () => {
    expect(parseSamples(TEXT).find(({ name }) => name === "odd")?.labels).toEqual({ label: 'a"b\\c\nd' });
    expect(parseSamples(TEXT)).toHaveLength(9);
  });
});
