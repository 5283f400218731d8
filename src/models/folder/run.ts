import { dirname, isAbsolute, join, resolve } from "node:path";
import { type HubName, isCommit, parseHubName, parseRepository } from "../../files/hub/name.ts";
import { existsSync } from "node:fs";
import { RandloraError } from "../../files/errors.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { modelOfRun } from "./locate.ts";

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
export interface ModelWithAdapter {
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
