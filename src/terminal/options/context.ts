import type { DeviceOptions } from "../../compute/open-device.ts";
import type { Log } from "../log.ts";
import type { Progress, ProgressSpec } from "../progress.ts";
import type { LiveLine } from "../screen.ts";
import type { Style } from "../style.ts";

/**
 * What every command gets besides its own options: where to write, when to stop, what to compute on.
 * @template R what the command's result is, where the library hands it on
 */
export interface Context<R extends object = object> {
  /** Text for people on stdout, as it stands (add the newline). Nothing under `--json`. */
  print(text: string): void;
  /**
   * The command's result on stdout: `data` as the one JSON object under `--json`, else what `render` returns (nothing
   * without one). At most one call in a run.
   * @param kind `files`: the result is what lies on the disk, of which the text only tells, and not under `--quiet`;
   *   `shared`: that of the first of several processes, which shows it
   */
  result(data: R, render?: () => string, kind?: "text" | "files" | "shared"): void;
  /** Notes on stderr; `--quiet` keeps warnings only, `--verbose` adds detail. */
  readonly log: Log;
  /** A bar on a terminal, rows elsewhere, nothing under `--quiet`. Close it (or use `using`). */
  progress(spec: ProgressSpec): Progress;
  /** stderr for what `progress` cannot say; shows nothing under `--quiet`. */
  readonly screen: LiveLine;
  /** Colors for stdout; none where they have no place. */
  readonly style: Style;
  /** Columns that a line on stdout may fill: the terminal's width, Infinity elsewhere. */
  readonly columns: number;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP: clean up and return or throw; the exit status is set for you. */
  readonly signal: AbortSignal;
  /** What is computed on, and how: `--device`, `--threads`, `--memory`, `--profile`. */
  readonly device: DeviceOptions;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}
