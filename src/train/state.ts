import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../errors.ts";
import { countNotFinite } from "../merge/finite.ts";
import { removeAll, syncFolder } from "../files/disk.ts";
import { replaceSynced, writeSynced } from "../files/whole-file.ts";
import { brief, fileError, oneLine, quote } from "../files/failure.ts";
import { SafetensorsFile } from "../safetensors/file.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../files/read-whole.ts";
import { SafetensorsWriter } from "../safetensors/writer.ts";
import type { ParameterRole, Parameters } from "../adapters/training/parameters.ts";

const HINT = "the state is damaged, or another version of randlora wrote it";

const DONE = "DONE";
const PROGRESS = "state.json";
/** Which file holds which tensors, under which names: those of torch's optimiser state. */
const FILES = [
  { file: "parameters.safetensors", roles: [["value", ""]] },
  {
    file: "optimizer.safetensors",
    roles: [
      ["mean", ".exp_avg"],
      ["square", ".exp_avg_sq"],
    ],
  },
] as const satisfies readonly { file: string; roles: readonly (readonly [ParameterRole, string])[] }[];

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const PROGRESS_SCHEMA = v.object({
  version: v.literal(1),
  /** Steps done. The order of the data and what dropout draws follow from it and the settings. */
  step: count,
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
  pixels: v.optional(v.string()),
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

/**
 * Writes `states/step-N`: it counts once `DONE` is in it, which is written last. Older states beyond `keep` are then
 * removed. Killed at any moment, the newest complete state is usable.
 *
 * @param addTo writes what else belongs to it into its folder
 * @throws RandloraError `file` (a full disk), `numeric` for parameters that are NaN or infinite: the older states are as
 *   they were
 */
export async function saveState(
  states: string,
  parameters: Parameters,
  progress: Progress,
  keep: number,
  addTo: (folder: string) => Promise<void> = async () => {},
): Promise<string> {
  const folder = stateFolder(states, progress.step);
  if (await isComplete(folder)) return folder;
  try {
    await removeAll(folder);
    await mkdir(folder, { recursive: true });
    for (const { file, roles } of FILES) await writeTensors(join(folder, file), parameters, roles);
    await replaceProgress(folder, progress);
    await addTo(folder);
    await syncFolder(folder);
    await writeSynced(join(folder, DONE), "");
    await syncFolder(folder);
    await syncFolder(states);
  } catch (thrown) {
    await removeAll(folder).catch(() => {});
    throw fileError(thrown, folder, "write");
  }
  await pruneStates(states, progress.step, keep);
  return folder;
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

/** Removes states older than the one of `step`, so that `keep` remain with it; of older ones that are not complete all. */
export async function pruneStates(states: string, step: number, keep: number): Promise<void> {
  let kept = 1;
  for (const state of await stateFolders(states)) {
    if (state.step >= step) continue;
    if (kept < keep && (await isComplete(state.path))) kept++;
    else await removeState(state.path);
  }
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

/** Reads parameters and moments back. @throws RandloraError `file`, `format` when the state is of another model */
export async function loadParameters(folder: string, parameters: Parameters): Promise<void> {
  for (const { file, roles } of FILES) {
    const path = join(folder, file);
    await using tensors = await SafetensorsFile.open(path);
    const byName = new Map(tensors.header.byOffset.map((info) => [info.name, info]));
    for (const { name, shape } of parameters.all) {
      for (const [role, suffix] of roles) {
        const info = byName.get(name + suffix);
        if (info === undefined || info.dtype !== "F32" || info.shape.join() !== shape.join()) {
          const cause = `no F32 tensor ${quote(name + suffix)} of shape [${shape.join(", ")}]`;
          throw new RandloraError(
            "format",
            `${oneLine(path)}: ${cause}`,
            "was the model replaced since the run began?",
          );
        }
        const numbers = new Float32Array(shape[0] * shape[1]);
        await tensors.read(info, new Uint8Array(numbers.buffer), 0);
        parameters.write(name, role, numbers);
      }
    }
  }
}

async function writeTensors(
  path: string,
  parameters: Parameters,
  roles: readonly (readonly [ParameterRole, string])[],
): Promise<void> {
  const tensors = parameters.all.flatMap(({ name, shape }) =>
    roles.map(([role, suffix]) => ({ name, shape, role, suffix })),
  );
  const planned = tensors.map(({ name, suffix, shape }) => ({ name: name + suffix, dtype: "F32" as const, shape }));
  await using writer = await SafetensorsWriter.create(path, planned);
  for (const { name, role, suffix } of tensors) {
    const numbers = await parameters.read(name, role);
    const wrong = role === "value" ? countNotFinite(numbers) : 0;
    if (wrong > 0) throw new RandloraError("numeric", `${quote(name)}: ${wrong} of its values are NaN or infinite`);
    await writer.append(name + suffix, new Uint8Array(numbers.buffer));
  }
  await writer.finish();
}

/** A state is complete, or gone, at any moment: DONE goes first. */
export async function removeState(path: string): Promise<void> {
  await removeAll(join(path, DONE));
  await removeAll(path);
}

/** Newest first, complete or not. */
async function stateFolders(states: string): Promise<{ step: number; path: string }[]> {
  const names = await readdir(states).catch((): string[] => []);
  return names
    .flatMap((name) => {
      const [, step] = /^step-(\d+)$/.exec(name) ?? [];
      return step === undefined ? [] : [{ step: Number(step), path: join(states, name) }];
    })
    .toSorted((a, b) => b.step - a.step);
}

async function isComplete(folder: string): Promise<boolean> {
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
