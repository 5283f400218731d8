import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { isCommit } from "../../files/hub/name.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { modelOfRun } from "./locate.ts";
import type { Recorded } from "./recorded.ts";

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
