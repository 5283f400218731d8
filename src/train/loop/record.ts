import { RandloraError } from "../../files/errors.ts";
import {
  newestState,
  type Progress,
  replaceProgress,
  type SavedState,
  stateFolder,
} from "../../models/folder/run-states.ts";
import { bringBestBack, forgetBestBefore, setBestAside } from "../run/best.ts";
import { CSV, eventFile, EVENTS } from "../run/metrics-copy.ts";
import { MetricsFile } from "../run/metrics-file.ts";
import { refreshFolder } from "../run/refresh.ts";
import { loadParameters, pruneStates, removeState, saveState } from "../run/state.ts";
import type { Metrics } from "../types.ts";
import { diverged } from "./diverged.ts";
import type { TrainJob } from "./job.ts";

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
