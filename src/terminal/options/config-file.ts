import { closeSync, existsSync, lstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";

/** Read when no `--config` is given, if it exists in the current folder. */
const FOLDER_CONFIG = "randlora.yaml";

/**
 * Far beyond any that people write. The current folder's file may be anybody's, and reading YAML takes time that grows with
 * the square of the number of keys: a second for this many bytes, minutes for a megabyte.
 */
const MAX_BYTES = 2 ** 16;

/** A configuration file that is to be read. */
export interface ConfigFile {
  /** How errors name it. */
  readonly name: string;
  /**
   * Who says what is in it: the user, by name (`--config`) or as their own; or whoever filled the current folder, which
   * may be a download.
   */
  readonly from: "named" | "user" | "folder";
}

/**
 * The configuration files of a run, the strongest first: what `--config` names, else `randlora.yaml` of the current folder;
 * then the user's own, `randlora/randlora.yaml` in `$XDG_CONFIG_HOME` or `~/.config`.
 */
export function configFiles(
  named: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigFile[] {
  const own = userConfig(environment);
  const first: ConfigFile =
    named === undefined ? { name: FOLDER_CONFIG, from: "folder" } : { name: named, from: "named" };
  const hasOwn = existsSync(own);
  const user: readonly ConfigFile[] = hasOwn ? [{ name: own, from: "user" }] : [];
  if (named !== undefined) return [first, ...user];
  if (!existsSync(FOLDER_CONFIG) || (hasOwn && realpathSync(FOLDER_CONFIG) === realpathSync(own))) return user;
  return [first, ...user];
}

/** Where the user's own configuration is looked for (XDG base directories). */
export function userConfig(environment: Readonly<Record<string, string | undefined>>): string {
  const xdg = environment["XDG_CONFIG_HOME"];
  const folder = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), ".config");
  return join(folder, "randlora", FOLDER_CONFIG);
}

/**
 * The text of a configuration file. What is named may be a pipe (`--config <(…)`); what is found is not waited for.
 * @throws {RandloraError} `file`, also for one of the current folder that belongs to another user; `format` where it is
 *   longer than any configuration
 */
export function readConfigText({ name, from }: ConfigFile): string {
  try {
    if (from !== "named" && !statSync(name).isFile()) throw new TypeError("not a file");
    if (from === "folder") refuseStrangers(name);
    return readAtMost(name);
  } catch (cause) {
    if (cause instanceof RandloraError) throw cause;
    const hint = from === "named" ? "check the path after --config" : "it is read as a file of options, if it exists";
    throw new RandloraError("file", `${name}: cannot be read`, hint, { cause });
  }
}

/** As git does of a repository: in a folder that others may write to, they would decide what a command does. */
function refuseStrangers(name: string): void {
  const own = process.geteuid?.();
  const owner = [lstatSync(name), statSync(name)].map(({ uid }) => uid).find((uid) => uid !== own);
  if (own === undefined || owner === undefined) return;
  const hint = `if you trust it: --config ${name}; to go on without it: --config /dev/null`;
  throw new RandloraError("file", `${name}: it belongs to another user (uid ${owner}), and is not read`, hint);
}

function readAtMost(name: string): string {
  const file = openSync(name, "r");
  try {
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length <= MAX_BYTES; length += read) {
      read = readSync(file, bytes, length, bytes.length - length, null);
    }
    if (length <= MAX_BYTES) return bytes.toString("utf8", 0, length);
  } finally {
    closeSync(file);
  }
  throw new RandloraError("format", `${name}: longer than ${MAX_BYTES} bytes`, "this is no configuration file");
}
