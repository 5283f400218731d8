import type { DeviceOptions } from "../../compute/open-device.ts";
import type { LiveLine, Log } from "../screen.ts";
import type { Progress, ProgressSpec } from "../progress.ts";
import type { Style } from "../style.ts";
import type { Option, ValueOf } from "./option.ts";

/*
 * How a command file looks: testing/template-command.ts.
 *
 * Throw a RandloraError to fail: code "usage" ends with status 2, any other with 1. `--device`, `--threads`, `--quiet`, `--verbose`,
 * `--profile`, `--json`, `--config`, `--help` and `--version` exist on every command and arrive in the context.
 */

/** A positional argument. */
export interface Argument<T> {
  readonly value: string;
  readonly help: string;
  readonly form: "required" | "optional" | "variadic" | "several";
  read(texts: readonly string[]): T;
}

/** Exactly one value: `BASE`. */
export function required(value: string, help: string): Argument<string> {
  return { value, help, form: "required", read: (texts) => texts[0] ?? "" };
}

/** One value or none: `[MODEL]`. */
export function optional(value: string, help: string): Argument<string | undefined> {
  return { value, help, form: "optional", read: (texts) => texts[0] };
}

/** One value or more, in the last place: `ADAPTER…`. */
export function variadic(value: string, help: string): Argument<readonly string[]> {
  return { value, help, form: "variadic", read: (texts) => texts };
}

/** Values or none, in the last place: `[IMAGE…]`. */
export function several(value: string, help: string): Argument<readonly string[]> {
  return { value, help, form: "several", read: (texts) => texts };
}

type Arguments = Readonly<Record<string, Argument<unknown>>>;
type Options = Readonly<Record<string, Option<unknown>>>;
type ArgumentValues<A extends Arguments> = { readonly [K in keyof A]: A[K] extends Argument<infer T> ? T : never };
/** What `run` gets of options. */
export type OptionValues<O extends Options> = { readonly [K in keyof O]: ValueOf<O[K]> };

interface Definition<A extends Arguments, O extends Options> {
  readonly name: string;
  /** Names that other programs have for it: whoever types one is told this command's. */
  readonly otherNames?: readonly string[];
  /** One line, no full stop: it stands in the list of commands. */
  readonly summary: string;
  /** One command line that does something useful as it stands. */
  readonly example: string;
  /** In the order in which they are written. */
  readonly arguments: A;
  /** Keys in camelCase: `maxShardSize` is `--max-shard-size` and `RANDLORA_MAX_SHARD_SIZE`. */
  readonly options: O;
  /** Those of them that `--help` shows, where that is not all: what most people need. `--help-all` shows every one. */
  readonly shown?: readonly (keyof O)[];
  /** It is there to be run when something is broken, and does without a configuration file that cannot be read. */
  readonly goesOnWithoutConfig?: boolean;
  run(args: ArgumentValues<A>, options: OptionValues<O>, context: Context): Promise<void> | void;
}

/** A command whose types have served their purpose: what the parser, `--help` and the completion work with. */
export interface Command {
  readonly kind: "command";
  readonly name: string;
  readonly otherNames: readonly string[];
  readonly summary: string;
  readonly example: string;
  readonly arguments: Arguments;
  readonly options: Options;
  /** Keys of options that `--help` leaves to `--help-all`. */
  readonly hidden: readonly string[];
  readonly goesOnWithoutConfig: boolean;
  /** Runs with values read by the definitions above. */
  invoke(
    args: Readonly<Record<string, unknown>>,
    options: Readonly<Record<string, unknown>>,
    context: Context,
  ): Promise<void>;
}

/** Commands under one word: `randlora cache list`, `randlora cache remove`. */
export interface Group {
  readonly kind: "group";
  readonly name: string;
  readonly otherNames?: readonly string[];
  readonly summary: string;
  readonly commands: readonly Command[];
}

/** Declares a command; `run` gets precisely typed arguments and options. */
export function defineCommand<const A extends Arguments, const O extends Options>(
  definition: Definition<A, O>,
): Command {
  const { name, otherNames = [], summary, example, options, goesOnWithoutConfig = false } = definition;
  const shown: readonly PropertyKey[] = definition.shown ?? Object.keys(options);
  return {
    kind: "command",
    name,
    otherNames,
    summary,
    example,
    arguments: definition.arguments,
    options,
    hidden: Object.keys(options).filter((key) => !shown.includes(key)),
    goesOnWithoutConfig: goesOnWithoutConfig || Object.keys(options).length === 0,
    async invoke(args, values, context) {
      // The parser filled both records by calling `read` of the very definitions that these types are made from.
      await definition.run(args as ArgumentValues<A>, values as OptionValues<O>, context);
    },
  };
}

/** Declares a word that has commands of its own. */
export function defineGroup(group: Omit<Group, "kind">): Group {
  return { kind: "group", ...group };
}

export {
  bytes,
  choice,
  count,
  flag,
  integer,
  json,
  list,
  number,
  numbers,
  optionalText,
  repeat,
  text,
  toggle,
} from "./option.ts";

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
