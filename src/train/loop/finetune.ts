import { chooseWhatFits } from "./too-large.ts";
import { join } from "node:path";
import { requireSpace } from "../../files/disk.ts";
import { RUNS } from "../../files/hub/name.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { withOwnAdapter } from "../model/init-adapter.ts";
import type { MethodSummary } from "../../adapters/method/training.ts";
import { baseHashes, refuseOtherBase, refuseOtherData } from "../model/same-sources.ts";
import { ALONE, firstThenOthers } from "../../mpi/processes.ts";
import { newestState } from "../../models/folder/run-states.ts";
import { validateEvery } from "./train.ts";
import { openGpu, type RunInput, Training, type TrainingInput, notesOfPlan } from "./training.ts";
import type { TrainResult } from "../result.ts";
import type { TrainObserver } from "../types.ts";

/** What `--dry-run` tells. */
export interface RunEstimate {
  readonly settings: TrainSettings;
  readonly steps: number;
  readonly epochs: number;
  readonly method: MethodSummary;
  readonly estimatedGpuBytes: number;
  readonly estimatedDiskBytes: number;
  /** Activations would be recomputed, because memory would not suffice otherwise or because it was asked for. */
  readonly checkpointing: boolean;
}

/**
 * Plans a run and estimates its memory; nothing is trained or written.
 * @param folder where it would be; null for a run that is there already
 * @throws RandloraError as `finetune`
 */
export async function estimateRun<Batch>(input: RunInput<Batch>, folder: string | null = RUNS): Promise<RunEstimate> {
  const { settings, location, subject } = input;
  const plan = subject.plan(settings);
  await using source = await subject.open(settings, location, {});
  using opened = await openGpu(input);
  const { gpu } = opened;
  const notes: string[] = [];
  const warn = (line: string) => notes.push(line);
  const { options, bytes, diskBytes, summary } = await chooseWhatFits(gpu, source, input, undefined, warn);
  if (folder !== null) await requireSpace(join(folder, "state"), diskBytes);
  notes.push(...notesOfPlan(settings, plan.steps.length, validateEvery({ settings, ...plan })));
  return {
    steps: plan.steps.length,
    epochs: Math.ceil(plan.steps.length / plan.steps.stepsPerEpoch),
    method: { ...summary, notes: [...notes, ...summary.notes] },
    estimatedGpuBytes: bytes,
    estimatedDiskBytes: diskBytes,
    settings,
    checkpointing: options.checkpointing,
  };
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
  const { folder, subject, processes = ALONE } = input;
  // It also brings back an adapter that a killed process had set aside.
  await firstThenOthers(processes, async () => {
    if (processes.rank === 0) await folder.removeLeftovers();
  });
  const state = await newestState(folder.states);
  const hashes = subject.dataHashes();
  if (state !== undefined) refuseOtherData(state.progress, hashes, input.settings, "run");
  const settings = await withOwnAdapter(input.settings, folder);
  const began = state?.progress.kernels.choices;
  await using opened = new AsyncDisposableStack();
  const { location } = input;
  const source = input.source ?? opened.use(await subject.open(settings, location, { began, signal }));
  const base = await baseHashes(source, location);
  if (state !== undefined) refuseOtherBase(state.progress, base, settings, "run");
  return await new Training(input, source, state, { ...hashes, ...base }, observer).run(signal);
}
