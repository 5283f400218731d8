import { join } from "node:path";
import { requireSpace } from "../../files/disk.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Device } from "../../compute/device/device.ts";
import { overlaid } from "../../compute/device/owned.ts";
import { type DeviceOptions, openDevice } from "../../compute/open-device.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { type Chosen, otherResults, stagingName } from "./choose-options.ts";
import { Engine, type EngineOptions, largestStep } from "./engine.ts";
import { validationOf } from "./evaluation.ts";
import type { MethodChoices } from "../../adapters/method/training.ts";
import { KeptGpu } from "./kept-gpu.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { type TrainSettings, flagOf } from "../settings/settings.ts";
import { loadParameters, removeState } from "../run/state.ts";
import { chooseWhatFits, hintOfFullDevice } from "./too-large.ts";
import { newestState, type Progress, type SavedState } from "../../models/folder/run-states.ts";
import { ALONE, type Processes } from "../../mpi/processes.ts";
import { allOrNone, refuseUnlike } from "./agreement.ts";
import type { RunPlan, Subject, TrainingSource } from "../model/subject.ts";
import { train, validateEvery } from "./train.ts";
import type { TrainResult } from "../result.ts";
import type { TrainObserver } from "../types.ts";
import { RUN_OPTIONS } from "../settings/options.ts";
import { notesOfWarmup } from "../settings/schedule.ts";
import { partOf } from "../settings/setting.ts";

/** What a run is made from. */
export interface RunInput<Batch> {
  readonly settings: TrainSettings;
  /** Where `settings.model` is on this machine. */
  readonly location: ModelLocation;
  readonly subject: Subject<Batch>;
  /** What is opened for it; with `gpu` nothing is. */
  readonly device?: DeviceOptions | undefined;
  /** A device that is open, and stays so; or one for this run and others. */
  readonly gpu?: Device | KeptGpu | undefined;
  /** Those that share it; by default this one is alone. */
  readonly processes?: Processes | undefined;
}

/** The same, with where it is trained into. */
export interface TrainingInput<Batch> extends RunInput<Batch> {
  readonly folder: RunFolder;
  /** What run.json will hold, written when everything is found to be right; undefined: what it holds. */
  readonly recorded?: TrainSettings | undefined;
  /** The model, where it is open already; it stays so. */
  readonly source?: TrainingSource<Batch> | undefined;
}

/** A run from its newest state on: on a GPU that is opened anew, and with less memory, where it was full at the beginning. */
export class Training<Batch> {
  readonly #input: TrainingInput<Batch>;
  readonly #source: TrainingSource<Batch>;
  readonly #state: SavedState | undefined;
  readonly #origin: Pick<Progress, "data" | "base" | "config">;
  readonly #observer: TrainObserver;
  readonly #plan: RunPlan<Batch>;
  readonly #processes: Processes;
  readonly #begin = performance.now();
  /** Has this process finished a step? */
  #hasTrained = false;
  /** Several processes cannot agree on another attempt once they train. */
  #hasStarted = false;

  constructor(
    input: TrainingInput<Batch>,
    source: TrainingSource<Batch>,
    state: SavedState | undefined,
    origin: Pick<Progress, "data" | "base" | "config">,
    observer: TrainObserver,
  ) {
    this.#input = input;
    this.#source = source;
    this.#state = state;
    this.#origin = origin;
    this.#observer = observer;
    this.#processes = input.processes ?? ALONE;
    const { validation, ...plan } = input.subject.plan(input.settings, this.#processes);
    this.#plan = { ...plan, validation: validation && validationOf(validation, input.settings.validBatches) };
  }

  async run(signal: AbortSignal): Promise<TrainResult> {
    let chosen: Chosen | undefined;
    for (;;) {
      using opened = await openGpu(this.#input);
      const { gpu } = opened;
      if (chosen === undefined) {
        const other = this.#state && otherResults(gpu, this.#state.progress);
        if (other !== undefined) this.#observer.warn(other);
        // What is too large for any GPU memory is found here, where nothing is allocated: it is not tried again.
        const warn = (line: string) => this.#observer.warn(line);
        chosen = await chooseWhatFits(gpu, this.#source, this.#input, this.#state, warn);
      }
      try {
        return await this.#attempt(gpu, chosen, signal);
      } catch (thrown) {
        if (!(thrown instanceof RandloraError)) throw thrown;
        if (this.#input.gpu instanceof KeptGpu && thrown.code !== "numeric") this.#input.gpu.letGo();
        if (thrown.code !== "memory") throw thrown;
        // Once something was trained, another attempt would have to undo it.
        const { gpu: given } = this.#input;
        const isOver =
          this.#hasTrained || this.#hasStarted || (typeof given === "object" && !(given instanceof KeptGpu));
        const less = isOver ? undefined : await chosen.cheaper();
        if (less === undefined) throw await this.#outOfMemory(thrown, gpu, chosen);
        this.#observer.warn(`${thrown.message}: trying once more: ${less.how}`);
        ({ chosen } = less);
        // It would tell of how the attempt computed that failed.
        if (this.#state === undefined && this.#processes.rank === 0)
          await removeState(join(this.#input.folder.states, "step-0"));
      }
    }
  }

  async #attempt(gpu: Device, { options, place, bytes, diskBytes }: Chosen, signal: AbortSignal): Promise<TrainResult> {
    const { settings, folder, recorded } = this.#input;
    const { steps, validation } = this.#plan;
    const observer = this.#observer;
    const every = validateEvery({ settings, steps, validation });
    const state = this.#state;
    // A disk that is full says so now, and not when all that was trained is to be saved.
    if (state === undefined && this.#processes.rank === 0) await requireSpace(folder.states, diskBytes);
    using resources = new DisposableStack();
    const { model, engine } = await allOrNone(this.#processes, async () => {
      const model = resources.use(await this.#source.place(gpu, place));
      const engine = resources.use(new Engine(gpu, model, options));
      // A GPU that is full says so now, and not when the longest samples come.
      await engine.rehearse(largestStep(model.task, steps), validation && model.task.probe(validation.largest));
      let read = 0;
      const total = this.#source.bytes;
      await model.fill((some) => observer.loading((read += some), total), signal);
      const notes = [...notesOfPlan(settings, steps.length, every), ...model.summary.notes];
      for (const note of notes) observer.warn(note);
      if (state === undefined) await engine.begin();
      else await loadParameters(state.folder, model.parameters);
      await gpu.idle();
      return { model, engine };
    });
    const { method, parameters, summary } = model;
    const { checkpointing } = options;
    const same = { ...this.#origin, step: state?.progress.step, checkpointing, choices: method.choices };
    await refuseUnlike(this.#processes, gpu, same, parameters);
    const progress = this.#progress(gpu, options, method.choices);
    if (recorded !== undefined && this.#processes.rank === 0) await folder.writeSettings(recorded);
    observer.start({
      run: folder.path,
      step: progress.step,
      steps: steps.length,
      epochs: Math.ceil(steps.length / steps.stepsPerEpoch),
      unit: this.#input.subject.unit,
      trainableParameters: summary.trainableParameters,
      estimatedGpuBytes: bytes,
      checkpointing: options.checkpointing,
      validateEvery: every,
    });
    this.#hasStarted = this.#processes.size > 1;
    const job = {
      gpu,
      settings,
      folder,
      engine,
      model,
      steps,
      validation,
      progress,
      resumed: state !== undefined,
      processes: this.#processes,
    };
    const watching = overlaid(observer, {
      step: (...step) => {
        this.#hasTrained = true;
        observer.step(...step);
      },
    });
    const { ending, progress: end } = await train(job, watching, signal);
    return {
      run: folder.path,
      ending,
      steps: end.step,
      stepsBefore: progress.step,
      loss: end.loss ?? undefined,
      validLoss: end.validLoss ?? undefined,
      validAccuracy: end.validAccuracy,
      bestStep: end.best?.step,
      validatedStep: end.evaluated ?? undefined,
      trainableParameters: summary.trainableParameters,
      quantized: summary.quantized,
      tokens: end.tokens,
      unit: this.#input.subject.unit,
      estimatedGpuBytes: bytes,
      peakGpuBytes: gpu.memory.peakLiveBytes,
      seconds: (performance.now() - this.#begin) / 1000,
      profile: (await gpu.profiler?.report()) ?? [],
    };
  }

  /** Where the run stands. A resumed one may recompute activations that it kept before: the bits are the same. */
  #progress({ info }: Device, { checkpointing, staging }: EngineOptions, choices: MethodChoices): Progress {
    const progress = this.#state?.progress;
    const steps = this.#plan.steps.length;
    if (progress !== undefined) return { ...progress, steps, kernels: { ...progress.kernels, checkpointing } };
    return {
      version: 1,
      step: 0,
      steps,
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

  /** The error of a device that is full, with what helps. */
  async #outOfMemory({ message, cause }: RandloraError, gpu: Device, { options }: Chosen): Promise<RandloraError> {
    const { path, states } = this.#input.folder;
    const step = (await newestState(states))?.progress.step ?? 0;
    const hint = hintOfFullDevice(gpu.info, {
      smaller: this.#source.smaller,
      resume: step === 0 ? undefined : { step, path, checkpointing: options.checkpointing },
    });
    return new RandloraError("memory", message, hint, { cause });
  }
}

/** The device of a run, closed at the end where it was opened for it. */
export async function openGpu<Batch>({ gpu, device }: RunInput<Batch>): Promise<{ readonly gpu: Device } & Disposable> {
  if (gpu instanceof KeptGpu) return { gpu: await gpu.open(), [Symbol.dispose]: () => {} };
  if (gpu !== undefined) return { gpu, [Symbol.dispose]: () => {} };
  const opened = await openDevice(device);
  return { gpu: opened, [Symbol.dispose]: () => opened.close() };
}

/**
 * For the user: options that can do nothing, without validation data or as rarely as it is looked at, and a rate that is never reached.
 * @param interval steps between validations; undefined: there are none
 */
export function notesOfPlan(settings: TrainSettings, steps: number, interval: number | undefined): string[] {
  const given = new Map<string, unknown>(Object.entries(settings));
  const needing = Object.entries(interval === undefined ? partOf(RUN_OPTIONS, { needs: "validation" }) : {});
  const idle = needing.filter(([key, { rule }]) => given.get(key) !== rule.usual).map(([key]) => flagOf(key));
  return [
    ...(idle.length === 0 ? [] : [`${idle.join(", ")}: nothing is validated without --valid or --valid-split`]),
    ...(interval === undefined || settings.earlyStop * interval < steps
      ? []
      : [
          `--early-stop ${settings.earlyStop}: with ${Math.ceil(steps / interval)} validations the run cannot end early`,
        ]),
    ...notesOfWarmup(settings, steps),
  ];
}
