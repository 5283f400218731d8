import { existsSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { formatHubName, type HubName, isCommit, parseHubName, parseRepository } from "../../files/hub/name.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";

/** Where a model's files are. */
export interface ModelLocation {
  /** The folder with config.json, the tokenizer and, as a rule, the weights. */
  readonly folder: string;
  /** The index.json, .safetensors or .gguf file that was named; undefined when the folder was. */
  readonly weights: string | undefined;
}

/** Looks a repository up on the Hub; the folder it returns holds what the caller needs of it. */
export type FetchFromHub = (name: HubName) => Promise<string>;

/**
 * Finds the folder that a MODEL argument means: a Hugging Face folder, an index.json or one .safetensors file (its folder
 * gives the rest), one .gguf file (which gives all, unpacked in the cache folder), a full fine-tuning run (its best model, else its last), or `org/name[@revision]`. What the folder holds is not checked.
 *
 * @param fetchFromHub without it, Hub names are refused
 * @throws {RandloraError} `file` when there is nothing of that name; `usage` for a file of another kind
 */
export async function locateModel(model: string, fetchFromHub?: FetchFromHub): Promise<ModelLocation> {
  const name = parseHubName(model);
  if (name !== undefined) {
    if (fetchFromHub !== undefined) return { folder: await fetchFromHub(name), weights: undefined };
    throw new RandloraError(
      "file",
      `${formatHubName(name)}: no such folder`,
      "give the path of a folder on this machine",
    );
  }
  const kind = statSync(model, { throwIfNoEntry: false });
  if (kind === undefined) throw noSuchModel(model);
  if (!kind.isDirectory()) return await locateFile(model);
  return { folder: modelOfRun(model) ?? model, weights: undefined };
}

/** A MODEL that is not there. */
export function noSuchModel(model: string): RandloraError {
  const hint = "MODEL is a folder, a file, or org/name on the Hub";
  return new RandloraError("file", `${oneLine(model)}: no such file or folder`, hint);
}

/** The model of a full fine-tuning run: its best one, else its last; undefined for any other folder. */
export function modelOfRun(folder: string): string | undefined {
  if (!existsSync(join(folder, "run.json"))) return undefined;
  return ["best", "model"].map((name) => join(folder, name)).find((one) => existsSync(join(one, "config.json")));
}

async function locateFile(path: string): Promise<ModelLocation> {
  if (isGgufName(path)) {
    const { ggufFolder } = await import("./open-checkpoint.ts");
    return { folder: await ggufFolder(path), weights: path };
  }
  if (path.endsWith(".safetensors") || path.endsWith(".json")) return { folder: dirname(path), weights: path };
  const hint = "MODEL is a folder, an index.json, one .safetensors or .gguf file, or org/name on the Hub";
  throw new RandloraError("usage", `${oneLine(path)}: not a model`, hint);
}

/**
 * A model or an adapter as a run recorded it: an absolute path, `embedded`, or `org/name` on the Hub. What lies beside the
 * working directory by now does not change what it means.
 */
export interface Recorded {
  readonly name: string;
  /** That of a name on the Hub when the run began; null for others, and in runs of earlier versions. */
  readonly commit: string | null;
}

/** Where on the Hub an argument or what was recorded is; undefined for what is on this machine. */
export function hubNameOf(place: string | Recorded): HubName | undefined {
  if (typeof place === "string") return parseHubName(place);
  const { name, commit } = place;
  if (isAbsolute(name) || name === EMBEDDED) return undefined;
  const found = parseRepository(name);
  return found && { repo: found.repo, revision: commit ?? found.revision };
}

/** The name that stands for the model, and for the data, that this program carries with it. */
export const EMBEDDED = "embedded";

/** What a MODEL argument stands for: a model, and the adapter that a run trained for it. */
interface ModelWithAdapter {
  /** As it was named. */
  readonly model: string;
  /** What is looked up. */
  readonly place: string | Recorded;
  readonly adapter: string | undefined;
}

/**
 * Reads a run folder, or an adapter in one (RUN/best): the model that was fine-tuned, at the commit that it had then, and what was named as the adapter.
 * Any other path, and a full fine-tuning run (which is a model), stands for itself.
 * @throws RandloraError `format` for a run that does not say what it was made from
 */
export async function readRun(path: string): Promise<ModelWithAdapter> {
  const isAdapter = existsSync(join(path, "adapter_config.json"));
  const file = join(isAdapter ? dirname(resolve(path)) : path, SETTINGS_FILE);
  if (!existsSync(file)) return { model: path, place: path, adapter: undefined };
  const { model, commit } = await readOptionalJsonObject(file);
  if (modelOfRun(path) !== undefined) return { model: path, place: path, adapter: undefined };
  if (typeof model === "string") {
    const known = typeof commit === "string" && isCommit(commit) ? commit : null;
    return { model, place: { name: model, commit: known }, adapter: path };
  }
  // Beside an adapter another program may have a file of that name.
  if (isAdapter) return { model: path, place: path, adapter: undefined };
  throw new RandloraError("format", `${file}: it names no model`, "name the model, and the run with --adapter");
}
