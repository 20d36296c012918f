/** At most so many at a time; the others wait, in their order. */
export function turnstile(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let working = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (working >= most) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
    } else working += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) working -= 1;
      else next();
    }
  };
}
