import { stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { chooseOptions } from "./choose-options.ts";
import { dataHash, planRun } from "./data.ts";
import type { MethodSummary } from "./method.ts";
import { ModelSource } from "./model.ts";
import type { RunFolder } from "./run-folder.ts";
import type { TrainSettings } from "./settings.ts";
import { newestState } from "./state.ts";
import { openGpu, type RunInput, Training } from "./training.ts";
import type { TrainObserver, TrainResult } from "./types.ts";

/** What `--dry-run` tells. */
export interface RunEstimate {
  readonly steps: number;
  readonly epochs: number;
  readonly method: MethodSummary;
  readonly estimatedGpuBytes: number;
  /** Activations would be recomputed, because memory would not suffice otherwise or because it was asked for. */
  readonly checkpointing: boolean;
}

/** Plans a run and estimates its memory; nothing is trained or written. @throws RandloraError as `finetune` */
export async function estimateRun(input: RunInput): Promise<RunEstimate> {
  const plan = planRun(input.settings, input.data);
  await using source = await ModelSource.open(input.settings, input.location);
  using opened = await openGpu(input);
  const { gpu } = opened;
  const { options, bytes, summary } = await chooseOptions(gpu, source, plan, undefined, () => {});
  return {
    steps: plan.steps.length,
    epochs: Math.ceil(plan.steps.length / plan.steps.stepsPerEpoch),
    method: summary,
    estimatedGpuBytes: bytes,
    checkpointing: options.checkpointing,
  };
}

/**
 * Trains: from the newest complete state in the run's folder, or from the beginning where there is none.
 *
 * @param input.folder is disposed of by the caller
 * @throws RandloraError `model` and `data` (not those that the run began with), `memory`, `gpu`, `numeric`, `file`
 */
export async function finetune(
  input: RunInput & { readonly folder: RunFolder },
  observer: TrainObserver,
  signal: AbortSignal,
): Promise<TrainResult> {
  const state = await newestState(input.folder.states);
  const hash = dataHash(input.data);
  if (state !== undefined && state.progress.data !== hash) {
    const cause = `${input.settings.data}: not the data that the run began with`;
    throw new RandloraError("data", cause, "put the old data back, or start a new run");
  }
  const settings = state === undefined ? input.settings : await findBases(input.settings, input.folder);
  await using source = await ModelSource.open(settings, input.location, signal);
  const base = await source.fingerprint();
  if (state?.progress.base !== undefined && state.progress.base !== base) {
    const cause = `${settings.model}: its weights are not those that the run began with`;
    throw new RandloraError("model", cause, "put the old ones back, or start a new run");
  }
  return await new Training(input, source, state, { data: hash, base }, observer).run(signal);
}

/** Where the adapter that a run began with is gone, its own has the same bases; parameters come from the state. */
async function findBases(settings: TrainSettings, folder: RunFolder): Promise<TrainSettings> {
  const { adapter } = settings;
  if (adapter === null || adapter.initAdapter === null) return settings;
  const own = folder.last(settings.method);
  const isThere = (path: string) => stat(path).then(Boolean, () => false);
  if ((await isThere(adapter.initAdapter)) || !(await isThere(own))) return settings;
  return { ...settings, adapter: { ...adapter, initAdapter: own } };
}
