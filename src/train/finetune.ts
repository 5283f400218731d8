import { stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { Gpu } from "../gpu/gpu.ts";
import type { ModelLocation } from "../models/locate.ts";
import type { TrainingData } from "../text/data/load-run.ts";
import { chooseOptions, stagingName } from "./choose-options.ts";
import { dataHash, planRun } from "./data.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import type { MethodSummary } from "./method.ts";
import { ModelSource } from "./model.ts";
import type { RunFolder } from "./run-folder.ts";
import type { TrainSettings } from "./settings.ts";
import { loadParameters, newestState, type Progress, type SavedState } from "./state.ts";
import { train } from "./train.ts";
import type { TrainObserver, TrainResult } from "./types.ts";

/** What a run is made from. */
export interface RunInput {
  readonly settings: TrainSettings;
  /** Where `settings.model` is on this machine. */
  readonly location: ModelLocation;
  readonly data: TrainingData;
  /** `--gpu`; or a GPU that is open, and stays so. */
  readonly gpu?: string | Gpu | undefined;
  readonly profile?: boolean | undefined;
}

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
  const attempt = new Attempt(input, source, state, { data: hash, base }, observer);
  try {
    return await attempt.run(signal, false);
  } catch (thrown) {
    const isMemory = thrown instanceof RandloraError && thrown.code === "memory";
    // A GPU that ran out of memory is closed, and opened anew.
    if (!isMemory || !attempt.canSaveMemory || input.gpu instanceof Gpu) throw thrown;
    observer.warn(`${thrown.message}: trying once more, with activations recomputed instead of kept`);
    return await attempt.run(signal, true);
  }
}

/** One attempt: a GPU that ran out of memory is opened anew for the next. */
class Attempt {
  readonly #input: RunInput & { readonly folder: RunFolder };
  readonly #source: ModelSource;
  readonly #state: SavedState | undefined;
  readonly #origin: Pick<Progress, "data" | "base">;
  readonly #observer: TrainObserver;
  /** Nothing was trained yet, and activations were kept. */
  canSaveMemory = true;

  constructor(
    input: RunInput & { readonly folder: RunFolder },
    source: ModelSource,
    state: SavedState | undefined,
    origin: Pick<Progress, "data" | "base">,
    observer: TrainObserver,
  ) {
    this.#input = input;
    this.#source = source;
    this.#state = state;
    this.#origin = origin;
    this.#observer = observer;
  }

  async run(signal: AbortSignal, checkpointing: boolean): Promise<TrainResult> {
    const begin = performance.now();
    const { settings, data, folder } = this.#input;
    const observer = this.#observer;
    const state = this.#state;
    const plan = planRun(settings, data);
    using opened = await openGpu(this.#input);
    const { gpu } = opened;
    this.#warnOfOtherGpu(gpu);
    const warn = (line: string) => observer.warn(line);
    const began = state?.progress.kernels;
    // Recomputed activations have the same bits.
    const kernels = checkpointing ? { ...began, checkpointing } : began;
    const { options, place, bytes } = await chooseOptions(gpu, this.#source, plan, kernels, warn);
    if (options.checkpointing) this.canSaveMemory = false;
    using model = await this.#source.place(gpu, place);
    let read = 0;
    const total = this.#source.bytes;
    await model.weights.fill((some) => observer.loading((read += some), total), signal);
    const { method } = model;
    method.summary.notes.forEach(warn);
    if (state !== undefined) await loadParameters(state.folder, method.parameters);
    using engine = new Engine(gpu, model, options);
    const { steps, validation } = plan;
    const progress = state?.progress ?? this.#begin(gpu, options, method.choices);
    observer.start({
      run: folder.path,
      step: progress.step,
      steps: steps.length,
      epochs: Math.ceil(steps.length / steps.stepsPerEpoch),
      trainableParameters: method.summary.trainableParameters,
      estimatedGpuBytes: bytes,
      checkpointing: options.checkpointing,
    });
    const job = {
      gpu,
      settings,
      folder,
      engine,
      method,
      steps,
      validation,
      progress,
      resumed: state !== undefined,
    };
    const { ending, progress: end } = await train(job, this.#watching(), signal);
    return {
      run: folder.path,
      ending,
      steps: end.step,
      stepsBefore: progress.step,
      loss: end.loss ?? undefined,
      validLoss: end.validLoss ?? undefined,
      bestStep: end.best?.step,
      trainableParameters: method.summary.trainableParameters,
      tokens: end.tokens,
      estimatedGpuBytes: bytes,
      peakGpuBytes: gpu.memory.peakLiveBytes,
      seconds: (performance.now() - begin) / 1000,
    };
  }

  #begin({ info }: Gpu, { checkpointing, staging }: EngineOptions, choices: Progress["kernels"]["choices"]): Progress {
    return {
      version: 1,
      step: 0,
      tokens: 0,
      loss: null,
      validLoss: null,
      evaluated: null,
      best: null,
      evaluationsSinceBest: 0,
      kernels: { checkpointing, staging: stagingName(staging), choices },
      gpu: { name: info.name, driver: info.driver },
      ...this.#origin,
    };
  }

  /** Once something was trained, a second attempt would have to undo it. */
  #watching(): TrainObserver {
    const observer = this.#observer;
    return {
      warn: (line) => observer.warn(line),
      loading: (read, total) => observer.loading(read, total),
      start: (run) => observer.start(run),
      step: (...step) => {
        this.canSaveMemory = false;
        observer.step(...step);
      },
      evaluation: (...evaluation) => observer.evaluation(...evaluation),
      saved: (step) => observer.saved(step),
    };
  }

  #warnOfOtherGpu({ info }: Gpu): void {
    const began = this.#state?.progress.gpu;
    if (began === undefined || (began.name === info.name && began.driver === info.driver)) return;
    const now = began.name === info.name ? `driver ${info.driver}` : info.name;
    const before = began.name === info.name ? began.driver : began.name;
    this.#observer.warn(`the run began on ${before}; on ${now} its results will differ in the last bits`);
  }
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

/** The GPU of a run, closed at the end where it was opened for it. */
async function openGpu({ gpu, profile }: RunInput): Promise<{ readonly gpu: Gpu } & Disposable> {
  if (gpu instanceof Gpu) return { gpu, [Symbol.dispose]: () => {} };
  const opened = await Gpu.open({ choice: gpu, profile });
  return { gpu: opened, [Symbol.dispose]: () => opened.close() };
}
