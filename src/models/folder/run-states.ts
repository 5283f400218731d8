import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { brief, oneLine, quote } from "../../files/failure.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { replaceSynced } from "../../files/whole-file.ts";
import { existsSync } from "node:fs";
import { modelOfRun } from "./locate.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";

const HINT = "the state is damaged, or another version of randlora wrote it";

/** The file that is written into a state last. */
export const DONE = "DONE";
const PROGRESS = "state.json";

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const PROGRESS_SCHEMA = v.object({
  version: v.literal(1),
  /** Steps done. The order of the data and what dropout draws follow from it and the settings. */
  step: count,
  /** Steps of the whole run; states of earlier versions do not say. */
  steps: v.optional(count),
  /** Supervised tokens of all steps. */
  tokens: count,
  loss: v.nullable(v.number()),
  validLoss: v.nullable(v.number()),
  /** Of tasks that tell classes apart. */
  validAccuracy: v.optional(v.number()),
  /** The step of the last evaluation. */
  evaluated: v.nullable(count),
  best: v.nullable(v.object({ step: count, validLoss: v.number() })),
  /** Evaluations since the best one: what early stopping counts. */
  evaluationsSinceBest: count,
  /** How the run computes: kept when it is resumed, because other kernels round differently. */
  kernels: v.object({
    checkpointing: v.boolean(),
    staging: v.string(),
    choices: v.record(v.string(), v.union([v.string(), v.number(), v.boolean(), v.array(v.string())])),
  }),
  /** Where it computed. */
  gpu: v.object({ name: v.string(), driver: v.string() }),
  /** See {@link DataHashes}. */
  data: v.string(),
  /** The base's fingerprint; states of earlier versions have none. */
  base: v.optional(v.string()),
  /** That of its config.json. */
  config: v.optional(v.string()),
});

/** Everything that resuming needs beside the parameters and their moments. */
export type Progress = Readonly<v.InferOutput<typeof PROGRESS_SCHEMA>>;

/** A state on the disk. */
export interface SavedState {
  readonly folder: string;
  /** The file that `progress` was read from. */
  readonly file: string;
  readonly progress: Progress;
}

/** The folder of the state of a step. */
export function stateFolder(states: string, step: number): string {
  return join(states, `step-${step}`);
}

/** Changes what a state says of the run, in one step. @throws RandloraError `file` */
export async function replaceProgress(folder: string, progress: Progress): Promise<void> {
  // In the order of the schema, whatever became known first.
  const ordered = v.parse(PROGRESS_SCHEMA, progress);
  await replaceSynced(join(folder, PROGRESS), `${JSON.stringify(ordered, undefined, 2)}\n`);
}

/**
 * The newest complete state of a run, of those before step `before`; undefined when there is none.
 * @throws RandloraError `file`, `format`
 */
export async function newestState(states: string, before = Infinity): Promise<SavedState | undefined> {
  for (const { step, path } of await stateFolders(states)) {
    if (step >= before || !(await isComplete(path))) continue;
    const file = join(path, PROGRESS);
    return { folder: path, file, progress: parseProgress(await readJson(file, MAX_SETTINGS_BYTES, HINT), file) };
  }
  return undefined;
}

/** The states of a run, newest first, complete or not. */
export async function stateFolders(states: string): Promise<{ step: number; path: string }[]> {
  const names = await readdir(states).catch((): string[] => []);
  return names
    .flatMap((name) => {
      const [, step] = /^step-(\d+)$/.exec(name) ?? [];
      return step === undefined ? [] : [{ step: Number(step), path: join(states, name) }];
    })
    .toSorted((a, b) => b.step - a.step);
}

/** Whether a state was written to its end. */
export async function isComplete(folder: string): Promise<boolean> {
  try {
    await stat(join(folder, DONE));
    return true;
  } catch {
    return false;
  }
}

function parseProgress(json: unknown, file: string): Progress {
  const result = v.safeParse(PROGRESS_SCHEMA, json);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new RandloraError(
    "format",
    `${oneLine(file)}: ${quote(v.getDotPath(issue) ?? "")}: ${brief(issue.message)}`,
    HINT,
  );
}

/**
 * Which weights a run's folder stands for, where these are not its last: of a run with validation data the best ones.
 * @returns one line for the user; undefined for any other run or path
 */
export async function noteOfRun(path: string): Promise<string | undefined> {
  const has = (...names: string[]) => existsSync(join(path, ...names));
  const isRun = has(SETTINGS_FILE) && !has("adapter_config.json");
  if (!isRun || (!has("best", "adapter_config.json") && !has("best", "config.json"))) return undefined;
  const last = join(path, modelOfRun(path) === undefined ? "adapter" : "model");
  // Without its states the run still has its best weights.
  const state = await newestState(join(path, "state")).catch(() => undefined);
  if (state !== undefined && state.progress.best?.step === state.progress.step) return undefined;
  return `${oneLine(path)}: ${inWords(state?.progress, oneLine(last))}`;
}

function inWords(progress: Progress | undefined, last: string): string {
  const best = progress?.best ?? undefined;
  if (progress === undefined || best === undefined) return `its best step; the last one is ${last}`;
  const loss = `validation loss ${best.validLoss.toFixed(4)}`;
  const rest = `the last one is ${last}`;
  if (best.step > 0) return `its best step, ${best.step} of ${progress.step} (${loss}); ${rest}`;
  const why = progress.evaluated === 0 ? "no later step was validated yet" : `no later step had a lower loss (${loss})`;
  return `step 0, as it was before training: ${why}; ${rest}`;
}
