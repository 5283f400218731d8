import { existsSync, readdirSync } from "node:fs";
import { formatHubName, nameInAddress, parseHubName, RUNS } from "../../files/hub/name.ts";
import { EMBEDDED, hubNameOf, noSuchModel, type Recorded } from "./locate.ts";
import type { Display } from "../../files/hub/report.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { basename, dirname, join, resolve } from "node:path";
import { nearest } from "../../files/nearest.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";

/** The part of a command's context that shows what is fetched, and says where things are. */
interface PlacesDisplay extends Display {
  readonly log: Display["log"] & { info(line: string): void; verbose(line: string): void };
}

/**
 * A MODEL or ADAPTER argument, or what a run recorded, as a path on this machine: a path stays what it is,
 * `org/name[@revision]` is looked up in the Hub's cache and fetched as far as it is missing, with a bar; the model
 * `embedded` is the one that this program carries with it. Which weights a run stands for is said in one line.
 *
 * @param kind `config`: a model of which config.json suffices
 * @throws RandloraError `usage` for an address; `file` for a path that is near another one, when the Hub has no such
 *   repository, or cannot be reached and nothing is cached
 */
export async function localPath(
  place: string | Recorded,
  kind: "model" | "config" | "adapter",
  display: PlacesDisplay,
): Promise<string> {
  const name = hubNameOf(place);
  if (name === undefined) {
    const path = typeof place === "string" ? place : place.name;
    const isEmbedded = path === EMBEDDED && (typeof place !== "string" || !existsSync(path));
    if (kind !== "adapter" && isEmbedded) {
      const { embeddedModel } = await import("./embedded.ts");
      return await embeddedModel();
    }
    if (isEmbedded) {
      const hint = "the model comes first, adapters after it: randlora merge BASE ADAPTER";
      throw new RandloraError("usage", `${EMBEDDED}: a model, not an adapter`, hint);
    }
    if (!existsSync(path)) refuseMistyped(path, kind === "adapter" ? [] : [EMBEDDED]);
    if (kind === "adapter" && !existsSync(path)) {
      const hint = "give a run, an adapter's folder or adapter.json, or org/name on the Hub";
      throw new RandloraError("file", `cannot read ${oneLine(path)}: no such file or folder`, hint);
    }
    if (kind !== "config") await sayWhatRunIs(path, display);
    return path;
  }
  const { resolveAdapter, resolveConfig, resolveModel } = await import("../../files/hub/resolve.ts");
  const { showingDownloads } = await import("../../files/hub/report.ts");
  const resolve = { model: resolveModel, config: resolveConfig, adapter: resolveAdapter }[kind];
  const path = await showingDownloads(display, (options) => resolve(name, options)).catch((thrown: unknown) => {
    throw typeof place === "string" ? withNearPath(thrown, place) : thrown;
  });
  display.log.verbose(`${formatHubName(name)}: ${path}`);
  return path;
}

/**
 * Refuses a MODEL that is the path of nothing, before other faults of a command line are told.
 * @throws RandloraError `file`; `usage` for an address
 */
export function refuseMissingModel(place: string | Recorded): void {
  const path = typeof place === "string" ? place : place.name;
  if (hubNameOf(place) !== undefined || path === EMBEDDED || existsSync(path)) return;
  refuseMistyped(path, [EMBEDDED]);
  throw noSuchModel(path);
}

/** Runs that were spoken of, by who was told: commands may look up an argument more than once. */
const told = new WeakMap<PlacesDisplay, Set<string>>();

async function sayWhatRunIs(path: string, display: PlacesDisplay): Promise<void> {
  const paths = told.get(display) ?? new Set();
  if (paths.has(path)) return;
  told.set(display, paths.add(path));
  const { noteOfRun } = await import("./run-states.ts");
  const note = await noteOfRun(path);
  if (note !== undefined) display.log.info(note);
}

/** The last part of a Hub name, for outputs named after a model; undefined for a path. */
export function hubBaseName(text: string): string | undefined {
  const name = parseHubName(text);
  return name === undefined ? undefined : formatHubName(name).replace(/@.*/, "").split("/").at(-1);
}

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
function withNearPath(thrown: unknown, text: string): unknown {
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
