/** What kind of thing went wrong; {@link EXIT_STATUS} has what a process ends with. */
export type ErrorCode =
  | "usage" // a flag, a value or a combination that makes no sense
  | "file" // missing, unreadable, unwritable, full disk
  | "format" // a file that is not what it claims to be
  | "adapter" // an adapter that does not fit the model, or cannot be applied
  | "model" // a model that is not supported, or does not fit its tokenizer
  | "data" // a data set that cannot be trained on
  | "gpu" // no GPU, no driver, device lost, validation
  | "memory" // not enough of it, on the GPU or beside it
  | "numeric"; // NaN or infinity where there must be none

/**
 * The exit status by what went wrong: 1 may pass (the same command may work at another time, or on another machine), 2 is a
 * wrong command line, 3 stays wrong however often it is tried. Schedulers decide by it whether a task is started again.
 */
export const EXIT_STATUS: Readonly<Record<ErrorCode, 1 | 2 | 3>> = {
  usage: 2,
  format: 3,
  adapter: 3,
  model: 3,
  data: 3,
  // A disk that is full or not mounted yet, the Hub that cannot be reached, a folder that another process writes.
  file: 1,
  gpu: 1,
  memory: 1,
  // Another device rounds otherwise.
  numeric: 1,
};

/**
 * The one error type of this project. `message` says what happened and to which file or tensor; `hint` says what to
 * do next (empty when there is nothing sensible to say). Anything else that is thrown is a bug.
 */
export class RandloraError extends Error {
  override readonly name = "RandloraError";
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, message: string, hint = "", options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}

/** Was there not enough memory, on the device or beside it? */
export function isMemory(thrown: unknown): boolean {
  return thrown instanceof RandloraError && thrown.code === "memory";
}

/**
 * Options that exclude each other, or one that has no meaning beside what the arguments name. Where one of them comes from
 * a weaker place than the others (a configuration file, the environment), it gives way and the command begins anew: throw
 * this before anything is done.
 */
export class Contradiction extends RandloraError {
  /** Their keys, as commands define them. */
  readonly options: readonly string[];

  constructor(options: readonly string[], message: string, hint: string) {
    super("usage", message, hint);
    this.options = options;
  }
}
