/** Every object key of a changelog, built and parsed here. Keys keep to `[A-Za-z0-9/_.=-]`, so none needs escaping. */
import type { Level } from "./window.ts";
import { LEVELS, dateOf } from "./window.ts";

export const LOG_DIR = "_delta_log/";
export const LAST_CHECKPOINT_KEY = "_delta_log/_last_checkpoint";

export const DATA_DIR = "data/";
export const WORKERS_DIR = "workers/";

export const workerKey = (id: string): string => `${WORKERS_DIR}${id}.json`;
/** Of a worker that lives, and wants no work. */
export const restingWorkerKey = (id: string): string => `${WORKERS_DIR}${id}.resting`;

/** The id in a worker's key; null in a resting one's. */
export const parseWorkerKey = (key: string): string | null => /^workers\/(.+)\.json$/.exec(key)?.[1] ?? null;

const pad20 = (version: number): string => String(version).padStart(20, "0");

export const commitKey = (version: number): string => `${LOG_DIR}${pad20(version)}.json`;
export const checkpointKey = (version: number): string => `${LOG_DIR}${pad20(version)}.checkpoint.parquet`;

export type LogKey = { readonly kind: "commit" | "checkpoint"; readonly version: number };

export function parseLogKey(key: string): LogKey | null {
  const match = /^_delta_log\/(\d{20})\.(json|checkpoint\.parquet)$/.exec(key);
  if (match === null) return null;
  return { kind: match[2] === "json" ? "commit" : "checkpoint", version: Number(match[1]) };
}

/** `data/dt=2026-11-23/0-20261123T131500Z-<unique>.parquet` */
export function dataKey(level: Level, windowStartMs: number, unique: string): string {
  const compact = `${new Date(windowStartMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  return `data/dt=${dateOf(windowStartMs)}/${level}-${compact}-${unique}.parquet`;
}

/** What a data file's key says. Null when it is not one. */
export function parseDataKey(key: string): { readonly level: Level; readonly windowStartMs: number } | null {
  const match = /^data\/dt=[^/]+\/(\d)-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z-/.exec(key);
  const level = LEVELS.find((known) => String(known) === match?.[1]);
  if (match === null || level === undefined) return null;
  const [, , year, month, day, hour, minute, second] = match;
  return { level, windowStartMs: Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) };
}

/** Where a named consumer's cursor stands. */
export const consumerKey = (name: string): string => `consumers/${name}.json`;

export const isConsumerName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(name);

/** A changelog's address: `s3://bucket/prefix`. Null when the text is not one. */
export function parseRoot(address: string): { readonly bucket: string; readonly prefix: string } | null {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9/_.=-]*))?$/.exec(address);
  if (match?.[1] === undefined) return null;
  const prefix = (match[2] ?? "").replace(/\/+$/, "");
  return { bucket: match[1], prefix: prefix === "" ? "" : `${prefix}/` };
}
