import { EXIT_STATUS, RandloraError } from "../../files/errors.ts";
import { visibleLines } from "../../files/visible.ts";
import { EndedByOther } from "../../mpi/processes.ts";
import { errorLines, type Screen } from "../screen.ts";
import type { Style } from "../style.ts";

/** Explains errors on stderr, whether `run` caught them or nobody did. */
export class ErrorReport {
  readonly #screen: Screen;
  readonly #style: Style;
  /** Whether causes and stacks are shown: what `--verbose` is settled to, as soon as that is known. */
  verbose = false;

  constructor(screen: Screen, style: Style) {
    this.#screen = screen;
    this.#style = style;
  }

  /**
   * Writes `error:` with what happened, and `hint:` with what to do.
   * @returns the exit status
   */
  explain(error: unknown): number {
    // Another process says what happened.
    if (error instanceof EndedByOther) return error.code === undefined ? 1 : EXIT_STATUS[error.code];
    if (error instanceof RandloraError) {
      this.#say(error.message, error.hint);
      if (this.verbose && error.cause !== undefined) this.#detail(`cause: ${describe(error.cause)}`);
      return EXIT_STATUS[error.code];
    }
    // What JavaScriptCore throws where an array does not fit: sizes that are too large for the machine, and no bug.
    if (error instanceof RangeError && error.message === "Out of memory") {
      this.#say("not enough memory", "choose a smaller rank, fewer bases, shorter texts or a smaller model");
      if (this.verbose) this.#detail(describe(error));
      return 1;
    }
    const hint = this.verbose ? "this is a bug; please report it" : "run again with --verbose for the stack";
    this.#say(`internal: ${error instanceof Error ? error.message : String(error)}`, hint);
    if (this.verbose) this.#detail(describe(error));
    return 1;
  }

  #say(message: string, hint: string): void {
    for (const line of errorLines(message, hint, this.#style)) this.#screen.line(line);
  }

  #detail(text: string): void {
    this.#screen.line(this.#style.dim(visibleLines(text)));
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
