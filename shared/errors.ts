/**
 * The one error class. `code` is stable and for programs; `message` says what is wrong;
 * `fix` says what to do about it. Anything else that is thrown is a bug.
 */
export class VarveError extends Error {
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "VarveError";
    this.code = code;
    this.fix = fix;
  }
}

/** One line for a person: what is wrong, and what to do. */
export function describeError(error: unknown): string {
  if (error instanceof VarveError) return `${error.message}\n  ${error.fix}`;
  return error instanceof Error ? error.message : String(error);
}

/** The same for a log, with the code to look for where there is one. */
export const errorFields = (error: unknown): { readonly why: string; readonly code?: string } =>
  error instanceof VarveError
    ? { code: error.code, why: describeError(error) }
    : { why: describeError(error) };
