import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { formatHubName, nameInAddress, RUNS } from "../../files/hub/name.ts";
import { nearest } from "../../files/nearest.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";

/** Names that an error lists. */
const LISTED = 5;

/**
 * Says what was meant by a MODEL or ADAPTER that is neither there nor a name on the Hub, where that can be told.
 * @param words what could have been meant beside files of the working directory
 * @throws RandloraError `usage` for an address, `file` for a path
 */
export function refuseMistyped(text: string, words: readonly string[] = []): void {
  const shown = oneLine(text);
  const name = nameInAddress(text);
  if (name !== undefined) {
    throw new RandloraError("usage", `${shown}: an address, not a name on the Hub`, `write ${formatHubName(name)}`);
  }
  if (/^[a-z]+:\/\//i.test(text)) {
    const hint = "name a folder or file of this machine, or org/name on the Hub";
    throw new RandloraError("usage", `${shown}: addresses are not fetched`, hint);
  }
  const hint = nearPath(text, words) ?? runsBeside(text) ?? runAbove(text);
  if (hint !== undefined) throw new RandloraError("file", `${shown}: no such file or folder`, hint);
}

/** A failure to find a name on the Hub which is near to a path: that may have been meant. */
export function withNearPath(thrown: unknown, text: string): unknown {
  const near = thrown instanceof RandloraError ? nearPath(text) : undefined;
  if (near === undefined || !(thrown instanceof RandloraError)) return thrown;
  const { code, message, hint } = thrown;
  return new RandloraError(code, message, hint === "" ? near : `${near} ${hint}`, { cause: thrown });
}

function nearPath(text: string, words: readonly string[] = []): string | undefined {
  const folder = dirname(text);
  const names = namesIn(folder);
  const others = resolve(folder) === process.cwd() ? words : [];
  const near = nearest(basename(text), [...names, ...others]);
  if (near === undefined) return undefined;
  const isPath = text.includes("/") && names.includes(near);
  return `did you mean ${oneLine(isPath ? join(folder, near) : near)}?`;
}

function runsBeside(text: string): string | undefined {
  const folder = dirname(text);
  if (basename(folder) !== RUNS) return undefined;
  const names = namesIn(folder);
  if (names.length === 0) return `there are no runs: randlora finetune makes one, in ${RUNS}/`;
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `${oneLine(folder)}/ has ${names.slice(0, LISTED).map(oneLine).join(", ")}${more}`;
}

/** A run without validation data has no best step. */
function runAbove(text: string): string | undefined {
  const run = dirname(text);
  if (!existsSync(join(run, SETTINGS_FILE))) return undefined;
  return `${oneLine(run)} is a run that has no ${oneLine(basename(text))}: name the run itself`;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}
