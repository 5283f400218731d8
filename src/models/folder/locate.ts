import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { formatHubName, type HubName, parseHubName } from "../../files/hub/name.ts";

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
    const { ggufFolder } = await import("./gguf-folder.ts");
    return { folder: await ggufFolder(path), weights: path };
  }
  if (path.endsWith(".safetensors") || path.endsWith(".json")) return { folder: dirname(path), weights: path };
  const hint = "MODEL is a folder, an index.json, one .safetensors or .gguf file, or org/name on the Hub";
  throw new RandloraError("usage", `${oneLine(path)}: not a model`, hint);
}
