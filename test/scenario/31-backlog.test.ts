/**
 * A backlog that is much larger than the memory a compactor may take; told to stop in the midst of it, it ends in
 * time, and the next one goes on. `VARVE_LONG=1` for ten million records.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { verify } from "../../reader/verify.ts";
import { systemClock } from "../../shared/clock.ts";
import { loadSnapshot } from "../../shared/log.ts";
import type { Fleet, Worker } from "./fleet.ts";
import { openFleet } from "./fleet.ts";

const LONG = process.env["VARVE_LONG"] === "1";
const RECORDS = LONG ? 10_000_000 : 300_000;
const SHARDS = 8;
const TABLE = "items";
const MEMORY_BYTES_MAX = 1024 ** 3;
const STOP_MS_MAX = 25_000;
const TIMEOUT_MS = LONG ? 3 * 3_600_000 : 300_000;
const ENV = { VARVE_FLUSH: "10s" };
