/** The rows of many files: step by step in time, the next step's files fetched while this one's rows are given. */
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { readingSteps } from "./range.ts";
import type { ChangeRow, Question } from "./scan.ts";
import { needOf, scanFetched } from "./scan.ts";
import type { FetchedFiles, ReadCounts } from "./scratch.ts";
import { openScratch } from "./scratch.ts";

/** @param counts is kept up to date as files are read */
export async function* rowsOf(
  store: ObjectStore,
  files: readonly DataFile[],
  question: Question,
  counts: ReadCounts,
  signal?: AbortSignal,
): AsyncGenerator<ChangeRow> {
  signal?.throwIfAborted();
  if (files.length === 0) return;
  const steps = readingSteps(files);
  const scratch = await openScratch(store);
  const fetch = (step: readonly DataFile[] | undefined): Promise<FetchedFiles> | null => {
    if (step === undefined) return null;
    const fetched = scratch.fetch(step, signal, needOf(question));
    // Whoever awaits it sees the error; until then it is not unhandled.
    fetched.catch(() => undefined);
    return fetched;
  };
  let ahead = fetch(steps[0]);
  try {
    for (const [index, step] of steps.entries()) {
      const fetched = await ahead;
      if (fetched === null) return;
      ahead = fetch(steps[index + 1]);
      Object.assign(counts, scratch.counts);
      yield* scanFetched(scratch, step, fetched, question, signal);
    }
  } finally {
    await ahead?.catch(() => undefined);
    Object.assign(counts, scratch.counts);
    await scratch.close();
  }
}
