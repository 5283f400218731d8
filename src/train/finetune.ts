import { RandloraError } from "../errors.ts";
import { chooseOptions } from "./choose-options.ts";
import { configFingerprint } from "./config-fingerprint.ts";
import { withOwnAdapter } from "./init-adapter.ts";
import type { MethodSummary } from "../adapters/training/method.ts";
import { newestState, type Progress } from "./states.ts";
import { openGpu, type RunInput, Training, type TrainingInput } from "./training.ts";
import type { DataHashes } from "./subject.ts";
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
export async function estimateRun<Batch>(input: RunInput<Batch>): Promise<RunEstimate> {
  const { settings, location, subject } = input;
  const plan = subject.plan(settings);
  await using source = await subject.open(settings, location, input);
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

/** States of earlier versions know less of the base. */
function refuseOtherBase(
  model: string,
  began: Pick<Progress, "base" | "config">,
  now: Required<Pick<Progress, "base" | "config">>,
): void {
  for (const [key, what] of [
    ["base", "its weights are not those"],
    ["config", "its config.json is not the one"],
  ] as const) {
    if (began[key] === undefined || began[key] === now[key]) continue;
    throw new RandloraError(
      "model",
      `${model}: ${what} that the run began with`,
      "put the old model back, or start a new run",
    );
  }
}

function isSameData(began: DataHashes, now: DataHashes): boolean {
  return began.data === now.data && (began.pixels === undefined || began.pixels === now.pixels);
}

/**
 * Trains: from the newest complete state in the run's folder, or from the beginning where there is none.
 *
 * @param input.folder is disposed of by the caller
 * @throws RandloraError `model` and `data` (not those that the run began with), `memory`, `gpu`, `numeric`, `file`
 */
export async function finetune<Batch>(
  input: TrainingInput<Batch>,
  observer: TrainObserver,
  signal: AbortSignal,
): Promise<TrainResult> {
  const { folder, subject } = input;
  // It also brings back an adapter that a killed process had set aside.
  await folder.removeLeftovers();
  const state = await newestState(folder.states);
  const hashes = subject.dataHashes();
  if (state !== undefined && !isSameData(state.progress, hashes)) {
    const cause = `${input.settings.data}: not the data that the run began with`;
    throw new RandloraError("data", cause, "put the old data back, or start a new run");
  }
  const settings = await withOwnAdapter(input.settings, folder);
  const began = state?.progress.kernels.choices;
  await using opened = new AsyncDisposableStack();
  const { location, methods } = input;
  const source = input.source ?? opened.use(await subject.open(settings, location, { began, signal, methods }));
  const base = await source.fingerprint();
  const config = await configFingerprint(location.folder);
  if (state !== undefined) refuseOtherBase(settings.model, state.progress, { base, config });
  return await new Training(input, source, state, { ...hashes, base, config }, observer).run(signal);
}
