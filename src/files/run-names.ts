import { existsSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { oneLine, shellWord } from "./failure.ts";
import { readOptionalJsonObject } from "./read-text.ts";

/** A run's settings, in its folder. */
export const SETTINGS_FILE = "run.json";
/** What its steps and evaluations came to. */
export const METRICS_FILE = "metrics.jsonl";
/** The same as a table. */
export const TABLE_FILE = "metrics.csv";
/** What weights lie in, inside a run's folder. */
const WEIGHTS: ReadonlySet<string> = new Set(["adapter", "best", "model"]);

/** The folder of the run that a folder of weights is in (RUN/best); undefined for any other. */
export function runAround(path: string): string | undefined {
  const folder = resolve(path);
  const run = dirname(folder);
  const isInside = WEIGHTS.has(basename(folder)) && !existsSync(join(folder, SETTINGS_FILE));
  return isInside && existsSync(join(run, SETTINGS_FILE)) ? run : undefined;
}

/** What a folder is called: weights in a run after it as well, as those of all runs have the same names. */
export function folderName(path: string): string {
  const [name, run] = [basename(resolve(path)), runAround(path)];
  return run === undefined ? name : `${basename(run)}-${name}`;
}

/** A model's name in tables and figures: of a path on this machine its last part, which tells models apart. */
export function modelTitle(model: string): string {
  return isAbsolute(model) ? basename(model) : model;
}

/**
 * What to do where a folder that was named as MODEL has no file of a model: a run and an adapter are none.
 * @returns undefined for any other folder
 */
export async function hintOfAdapter(folder: string): Promise<string | undefined> {
  const shown = oneLine(folder);
  if (existsSync(join(folder, SETTINGS_FILE))) {
    const { model } = await readOptionalJsonObject(join(folder, SETTINGS_FILE)).catch(() => ({ model: undefined }));
    const base = typeof model === "string" ? oneLine(model) : "its base";
    return `it is a run: name ${base} as MODEL; finetune goes on from the run with --init-adapter ${shellWord(folder)}`;
  }
  if (!existsSync(join(folder, "adapter_config.json"))) return undefined;
  return `${shown} is an adapter: give the folder of its run, or its base as MODEL and --adapter ${shown}`;
}
