/** Notes for people, on stderr. Each call is one line. */
export interface Log {
  info(line: string): void;
  /** Shown even under `--quiet`, after the word `warning:`. */
  warn(line: string): void;
  /** Shown under `--verbose` only. */
  verbose(line: string): void;
}
