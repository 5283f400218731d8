import type { Device } from "../../compute/device/device.ts";
import type { StepPlan } from "../../data/batches/types.ts";
import { RandloraError } from "../../files/errors.ts";
import {
  newestState,
  type Progress,
  replaceProgress,
  type SavedState,
  stateFolder,
} from "../../models/folder/run-states.ts";
import type { Processes } from "../../mpi/processes.ts";
import type { TrainedModel } from "../model/subject.ts";
import { bringBestBack, forgetBestBefore, setBestAside } from "../run/best.ts";
import { CSV, eventFile, EVENTS, MetricsFile } from "../run/metrics.ts";
import { refreshFolder, type RunFolder } from "../run/run-folder.ts";
import { loadParameters, pruneStates, removeState, saveState } from "../run/state.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { Ending, Metrics } from "../types.ts";
import type { Engine } from "./engine.ts";

/** A run that is ready to go: everything opened, loaded, and where resumed, put back to its last state. */
export interface TrainJob<Batch> {
  readonly gpu: Device;
  readonly settings: TrainSettings;
  readonly folder: RunFolder;
  readonly engine: Engine<Batch>;
  readonly model: TrainedModel<Batch>;
  readonly steps: StepPlan<Batch>;
  /** The validation set, each of its tokens once; undefined without one. */
  readonly validation: StepPlan<Batch> | undefined;
  /** Where the run stands: `step` 0 and nothing else for a new one. */
  readonly progress: Progress;
  /** Is that a state on the disk? */
  readonly resumed: boolean;
  /** Those that share it; by default one alone. The first writes what there is to write. */
  readonly processes?: Processes;
}

/** Where a run ended, and why. */
export interface TrainOutcome {
  readonly ending: Ending;
  readonly progress: Progress;
}

type Recorded = Pick<TrainJob<never>, "folder" | "settings" | "resumed" | "progress"> & {
  readonly model: Pick<TrainJob<never>["model"], "parameters" | "result" | "save">;
};

/** What a run leaves on the disk: metrics, states, and the folders that are made from them. */
export class RunRecord implements AsyncDisposable {
  readonly #job: Recorded;
  readonly #metrics: MetricsFile;

  private constructor(job: Recorded, metrics: MetricsFile) {
    this.#job = job;
    this.#metrics = metrics;
  }

  /** @throws RandloraError `file` */
  static async open(job: Recorded): Promise<RunRecord> {
    const { folder, settings, resumed, progress } = job;
    const { logDir } = settings;
    const copies = { [folder.table]: CSV, ...(logDir !== null && { [eventFile(logDir)]: EVENTS }) };
    return new RunRecord(job, await MetricsFile.open(folder.metrics, resumed ? progress : undefined, copies));
  }

  async append(metrics: Metrics): Promise<void> {
    await this.#metrics.append(metrics);
  }

  /**
   * The state first, then the folders that are made from it.
   * @param saved the step of the newest state
   */
  async save(progress: Progress, saved: number | undefined): Promise<void> {
    const { folder, model, settings } = this.#job;
    const { step, best } = progress;
    await this.#metrics.sync();
    const addTo = async (state: string) => {
      if (best?.step === step) await setBestAside(state, folder.best);
    };
    // One more than is to stay: whether this one is good the next loss tells.
    try {
      await saveState(folder.states, model.parameters, progress, settings.keep + 1, addTo);
    } catch (thrown) {
      if (!(thrown instanceof RandloraError) || thrown.code !== "numeric") throw thrown;
      throw diverged(step, `after the update ${thrown.message}`, saved, true);
    }
    await this.refresh(progress);
  }

  /** The state of this step is there, from before it was known to be the best. */
  async amend(progress: Progress): Promise<void> {
    const { folder } = this.#job;
    const state = stateFolder(folder.states, progress.step);
    await setBestAside(state, folder.best);
    await replaceProgress(state, progress);
    await this.refresh(progress);
  }

  /** The step of the newest state is good. */
  async confirm(step: number): Promise<void> {
    await this.prune(step);
    await forgetBestBefore(stateFolder(this.#job.folder.states, step));
  }

  /** Removes states that are not kept. @param saved the step of the newest one */
  async prune(saved: number | undefined): Promise<void> {
    const { folder, settings } = this.#job;
    if (saved !== undefined) await pruneStates(folder.states, saved, settings.keep);
  }

  async refresh({ step, best }: Progress): Promise<void> {
    const { folder, model } = this.#job;
    await refreshFolder(folder.last(model.result), (into) => model.save(into));
    if (best?.step === step) await this.refreshBest();
  }

  async refreshBest(): Promise<void> {
    const { folder, model } = this.#job;
    await refreshFolder(folder.best, (into) => model.save(into));
  }

  /**
   * Makes the newest state before that of `step` the run's. What was measured stays in metrics.jsonl: it shows how the run
   * came to this, and a resumed run cuts it back by itself.
   * @returns undefined where there is none
   */
  async goBack({ best }: Progress, step: number): Promise<SavedState | undefined> {
    const { folder, model } = this.#job;
    const older = await newestState(folder.states, step);
    if (older === undefined) return undefined;
    const bad = stateFolder(folder.states, step);
    // While the state is there, a process that is killed here does all of this again.
    if (best?.step === step) await bringBestBack(bad, folder.best);
    await removeState(bad);
    await loadParameters(older.folder, model.parameters);
    await this.refresh(older.progress);
    return older;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#metrics[Symbol.asyncDispose]();
  }
}

/**
 * The error of a run whose loss or gradients are not finite.
 * @param kept the step of the state that stays; undefined where there is none, or only one that makes the loss what it is
 * @param updated has a step been taken before it was seen?
 */
export function diverged(step: number, what: string, kept: number | undefined, updated = step > 1): RandloraError {
  return new RandloraError("numeric", `step ${step}: ${what}`, hintOf(updated, kept));
}

function hintOf(updated: boolean, kept: number | undefined): string {
  // Nothing was trained yet: no learning rate is at fault.
  if (!updated)
    return "the model holds NaN, or numbers that are too large for 16 bits: fetch it again, or try --dtype f32";
  if (kept === undefined)
    return "no good state was saved: start anew with a lower --learning-rate or a longer --warmup";
  return `what was saved at step ${kept} is kept; try a lower --learning-rate or a longer --warmup`;
}

/** Milliseconds between two states, where no number of steps is given. */
const INTERVAL_MS = 60_000;
/** A save is followed by this many times as long without one, so that saving takes 3 % of the time at most. */
const SPACING = 32;

/** Tells when the next training state is due by time. */
export class SaveClock {
  readonly #now: () => number;
  #next: number;

  /** @param now a clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#next = now() + INTERVAL_MS;
  }

  get isDue(): boolean {
    return this.#now() >= this.#next;
  }

  /** Saves, and counts from its end on. */
  async time(save: () => Promise<void>): Promise<void> {
    const began = this.#now();
    await save();
    const end = this.#now();
    this.#next = end + Math.max(INTERVAL_MS, SPACING * (end - began));
  }
}
