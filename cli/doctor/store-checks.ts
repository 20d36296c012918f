/** The changelog's store: that it is there, may be used, and honours the conditions that everything rests on. */
import { openChangelog } from "../../reader/changelog.ts";
import { completeUpTo } from "../../reader/range.ts";
import { many } from "../../shared/amounts.ts";
import { VarveError } from "../../shared/errors.ts";
import type { ObjectStore, PutOutcome } from "../../shared/store.ts";
import type { Check } from "./check.ts";
import { fail, ok, skipped, warn } from "./check.ts";

/** The template's lifecycle deletes what is left here. */
/** As the alert VarveWatermarkBehind has it. */
const BEHIND_WARN_S = 900;
const SCRATCH_DIR = "_scratch/";
const RACERS = 8;

export type StoreChecksDeps = {
  readonly store: ObjectStore;
  /** `s3://bucket/prefix` */
  readonly address: string;
  /** A name never used before. */
  readonly unique: string;
  /** The bucket's versioning: `Enabled`, `Suspended`, undefined when off; null where it cannot be asked. */
  readonly versioning: () => Promise<string | undefined | null>;
  readonly nowMs: () => number;
};

const TEMPLATE = "deploy/aws/varve.yaml makes it so";
const NOT_CONDITIONAL =
  "Varve cannot be exactly once on this store. Use S3, R2, or one whose PUT honours If-None-Match and If-Match; a proxy in between must pass these headers on.";

const grant = (action: string, address: string): string =>
  `Allow ${action} on ${address} to these credentials; ${TEMPLATE}.`;

export function storeChecks({
  store,
  address,
  unique,
  versioning,
  nowMs,
}: StoreChecksDeps): readonly Check[] {
  const key = (name: string): string => `${SCRATCH_DIR}${unique}/${name}`;
  const text = (body: string): Uint8Array => new TextEncoder().encode(body);
  const read = async (name: string): Promise<string | null> => {
    const found = await store.get(key(name));
    return found === null ? null : new TextDecoder().decode(found.body);
  };
  const remove = async (...names: readonly string[]): Promise<void> => {
    for (const name of names) await store.delete(key(name));
  };
  const told = (outcome: PutOutcome): string =>
    outcome.kind === "unknown" ? `no clear answer (${String(outcome.cause)})` : outcome.kind;
  let etag = "";

  return [
    {
      id: "bucket",
      title: "bucket can be listed (s3:ListBucket)",
      fix: grant("s3:ListBucket", "the bucket"),
      run: async () => {
        for await (const _ of store.list("_delta_log/")) break;
        return ok(address);
      },
    },
    {
      id: "put",
      title: "objects can be written (s3:PutObject)",
      needs: ["bucket"],
      fix: grant("s3:PutObject", address),
      run: async () => {
        const outcome = await store.put(key("put"), text("first"), { kind: "if-absent" });
        if (outcome.kind !== "stored")
          return fail(`a new object was not stored: ${told(outcome)}`, NOT_CONDITIONAL);
        etag = outcome.etag;
        return ok(`wrote ${key("put")}`);
      },
    },
    {
      id: "get",
      title: "objects can be read (s3:GetObject)",
      needs: ["put"],
      fix: grant("s3:GetObject", address),
      run: async () => {
        const body = await read("put");
        return body === "first"
          ? ok("read back what was written")
          : fail(
              `read back ${JSON.stringify(body)}`,
              "The store gives back something else than was written.",
            );
      },
    },
    {
      id: "absent",
      title: "an absent object is told from a forbidden one",
      needs: ["bucket"],
      fix: `S3 answers 403 for an absent object where s3:ListBucket is missing, or granted under a prefix only: ${grant("s3:ListBucket", "the whole bucket")}`,
      run: async () =>
        (await read("absent")) === null
          ? ok("an absent object is not found")
          : fail("an object that was never written is there", "Check what answers at S3_ENDPOINT."),
    },
    {
      id: "if-absent",
      title: "put-if-absent refuses the second writer",
      needs: ["put"],
      fix: NOT_CONDITIONAL,
      run: async () => {
        const again = await store.put(key("put"), text("second"), { kind: "if-absent" });
        const body = await read("put");
        if (again.kind === "refused" && body === "first") return ok("412, and the first one stands");
        return fail(`told ${told(again)}, and ${JSON.stringify(body)} stands`, NOT_CONDITIONAL);
      },
    },
    {
      id: "race",
      title: `one of ${RACERS} racing put-if-absent wins`,
      needs: ["if-absent"],
      fix: NOT_CONDITIONAL,
      run: async () => {
        const outcomes = await Promise.all(
          Array.from({ length: RACERS }, (_, racer) =>
            store.put(key("race"), text(String(racer)), { kind: "if-absent" }),
          ),
        );
        const winners = outcomes.flatMap(({ kind }, racer) => (kind === "stored" ? [String(racer)] : []));
        const body = await read("race");
        await remove("race");
        return winners.length === 1 && winners[0] === body
          ? ok("one winner, and it stands")
          : fail(
              `${winners.length} were told that they won, and ${JSON.stringify(body)} stands`,
              NOT_CONDITIONAL,
            );
      },
    },
    {
      id: "if-match",
      title: "put-if-match takes the newest etag and refuses an older",
      needs: ["put"],
      fix: NOT_CONDITIONAL,
      run: async () => {
        const next = await store.put(key("put"), text("third"), { kind: "if-match", etag });
        const stale = await store.put(key("put"), text("fourth"), { kind: "if-match", etag });
        const body = await read("put");
        return next.kind === "stored" && stale.kind === "refused" && body === "third"
          ? ok("the newest is taken, an older one refused")
          : fail(
              `told ${told(next)}, then ${told(stale)}, and ${JSON.stringify(body)} stands`,
              NOT_CONDITIONAL,
            );
      },
    },
    {
      id: "delete",
      title: "objects can be deleted (s3:DeleteObject)",
      needs: ["put"],
      fix: grant("s3:DeleteObject", address),
      run: async () => {
        await remove("put");
        return (await read("put")) === null
          ? ok("deleted what was written")
          : fail("it is still there", "The store does not delete, or answers from a cache.");
      },
    },
    {
      id: "log-policy",
      title: "the bucket itself refuses an unconditional log entry",
      needs: ["delete"],
      fix: `Put the bucket policy of deploy/aws/varve.yaml on the bucket.`,
      run: async () => {
        // The policy is for any `_delta_log/*.json`: this one is not the changelog's.
        const entry = "_delta_log/0.json";
        try {
          await store.put(key(entry), text("{}"), { kind: "always" });
        } catch (error) {
          if (nameOf(error) === "AccessDenied")
            return ok("403: log entries are put if absent, or not at all");
          throw error;
        }
        await remove(entry);
        return warn(
          "it took one: a program other than Varve could overwrite the log",
          `Put the bucket policy of deploy/aws/varve.yaml on the bucket. R2 and local stores have none: then let nothing else write there.`,
        );
      },
    },
    {
      id: "versioning",
      title: "versioning is off (s3:GetBucketVersioning)",
      needs: ["bucket"],
      fix: grant("s3:GetBucketVersioning", "the bucket"),
      run: async () => {
        const status = await versioning();
        if (status === null) return skipped("this store cannot be asked");
        return status === "Enabled"
          ? warn(
              "it is on: what is deleted or forgotten stays, and is paid for",
              "Suspend versioning and let a lifecycle rule expire noncurrent versions, or use another bucket.",
            )
          : ok(status ?? "never switched on");
      },
    },
    {
      id: "changelog",
      title: "the changelog",
      needs: ["get"],
      fix: "Run `varve verify`: it lists everything that is wrong with the log.",
      run: async () => {
        try {
          const { version, log, gaps } = await (await openChangelog(store)).snapshot();
          const behindS = Math.round((nowMs() - log.watermarkMs) / 1000);
          const ago = log.watermarkMs === 0 ? "" : ` (${behindS} s ago)`;
          const state = `version ${version}, ${completeUpTo(log.watermarkMs)}${ago}`;
          if (gaps.size > 0)
            return warn(
              `${state}, with ${many(gaps.size, "gap")}`,
              "`varve files` shows them; docs/alerts.md says what to do.",
            );
          return behindS > BEHIND_WARN_S && log.watermarkMs > 0
            ? warn(
                `${state}: it is behind`,
                "`varve status` says whether a compactor runs; docs/alerts.md (VarveWatermarkBehind) what to do.",
              )
            : ok(state);
        } catch (error) {
          if (error instanceof VarveError && error.code === "no_changelog")
            return ok("none yet: the compactor makes it when it first starts");
          throw error;
        }
      },
    },
  ];
}

/** The name of S3's own error, under ours. */
const nameOf = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error ? error.cause.name : "";
