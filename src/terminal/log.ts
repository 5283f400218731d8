import { shownMessage } from "../files/shown-paths.ts";
import type { Screen } from "./screen.ts";
import type { Style } from "./style.ts";

/** Notes for people, on stderr. Each call is one line, which may quote anything: what would steer the terminal is made visible. */
export interface Log {
  info(line: string): void;
  /** Shown even under `--quiet`, after the word `warning:`. */
  warn(line: string): void;
  /** Shown even under `--quiet`, as it stands: what the caller cannot go on without. */
  announce(line: string): void;
  /** Shown under `--verbose` only. */
  verbose(line: string): void;
}

/** Builds the log that `--quiet` and `--verbose` ask for; `--verbose` wins when both are given. */
export function createLog(
  screen: Screen,
  style: Style,
  level: { readonly quiet: boolean; readonly verbose: boolean },
): Log {
  return {
    info(line) {
      if (!level.quiet || level.verbose) screen.line(shownMessage(line));
    },
    warn(line) {
      screen.line(`${style.yellow("warning:")} ${shownMessage(line)}`);
    },
    announce(line) {
      screen.line(shownMessage(line));
    },
    verbose(line) {
      if (level.verbose) screen.line(style.dim(shownMessage(line)));
    },
  };
}

/** An error as lines: what happened, and what to do where that is known. Both may quote anything. */
export function errorLines(message: string, hint: string, style: Style): string[] {
  const lines = [`${style.red("error:")} ${shownMessage(message)}`];
  return hint === "" ? lines : [...lines, `${style.cyan("hint:")} ${shownMessage(hint)}`];
}
