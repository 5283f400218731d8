import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import type { MergeOptions } from "../../adapters/merge/to-files/options.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { outcomeOf, Recording, settingsFor, shortRun, trainInto, writeTexts } from "./runs.ts";
import { writeSmallModel } from "./small-model.ts";

/** Short runs of one test file: one GPU, so that kernels are compiled once, one folder, the same few texts. */
export class ShortRuns implements AsyncDisposable {
  private constructor(
    readonly gpu: Device,
    readonly folder: TemporaryFolder,
    /** A base model of two layers. */
    readonly model: string,
    readonly data: string,
    readonly valid: string,
  ) {}

  /** @param counts texts to train on, and texts to evaluate on */
  static async open(counts = { data: 12, valid: 3 }): Promise<ShortRuns> {
    const gpu = await openTestDevice();
    const folder = await TemporaryFolder.create();
    const model = await writeSmallModel(folder.at("small-model"));
    const data = await writeTexts(folder.at("train.jsonl"), counts.data);
    const valid = await writeTexts(folder.at("valid.jsonl"), counts.valid, 3);
    return new ShortRuns(gpu, folder, model, data, valid);
  }

  /** Settings of a run of 6 steps on these texts. */
  settings(asked: Partial<AskedSettings> = {}): Promise<TrainSettings> {
    const { model, data, valid } = this;
    return shortRun({ model, data, valid, ...asked });
  }

  /** Settings of a run on these texts, two a micro-batch; the rest is as the program has it. */
  plain(asked: Partial<AskedSettings>): Promise<TrainSettings> {
    const { model, data, valid } = this;
    return settingsFor({ model, data, valid, batchSize: 2, ...asked });
  }

  /** Trains into the folder's `name`: begins there, or resumes what is there. */
  train(name: string, settings: TrainSettings, recording?: Recording, signal?: AbortSignal) {
    return trainInto(this.folder.at(name), settings, recording, signal, this.gpu);
  }

  /** The same, but stopped after its third step, which is no save, and then resumed. */
  async trainInParts(name: string, settings: TrainSettings, resumed = settings) {
    const stop = new AbortController();
    const stopping = new Recording();
    stopping.onStep = (step) => void (step === 2 && stop.abort());
    await this.train(name, settings, stopping, stop.signal);
    return await this.train(name, resumed);
  }

  /** What {@link outcomeOf} says of the folder's `name`. */
  outcome(name: string): Promise<Record<string, string>> {
    return outcomeOf(this.folder.at(name));
  }

  /** Merges an adapter into its base; `out` is a name in the folder. */
  merge(adapter: string, out: string, more: Partial<MergeOptions> = {}) {
    const all = { ...OPTIONS, base: this.model, adapters: [adapter], out: this.folder.at(out), ...more };
    return merge(all, new Notes(), new AbortController().signal);
  }

  /** The validation loss of a model. */
  async lossOf(model: string, asked: Partial<AskedSettings> = {}): Promise<number> {
    const still = { model, method: "full", learningRate: 0, steps: 1, ...asked } as const;
    const { result } = await this.train(`still-${this.#measured++}`, await this.plain(still));
    return result.validLoss ?? NaN;
  }
  #measured = 0;

  async [Symbol.asyncDispose](): Promise<void> {
    this.gpu.close();
    await this.folder[Symbol.asyncDispose]();
  }
}
