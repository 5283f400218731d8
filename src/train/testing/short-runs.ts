import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { Recording, shortRun, trainInto, writeTexts } from "./runs.ts";

/** Short runs of one test file: one GPU, so that kernels are compiled once, one folder, the same few texts. */
export class ShortRuns implements AsyncDisposable {
  private constructor(
    readonly gpu: Device,
    readonly folder: TemporaryFolder,
    readonly data: string,
    readonly valid: string,
  ) {}

  /** @param counts texts to train on, and texts to evaluate on */
  static async open(counts = { data: 12, valid: 3 }): Promise<ShortRuns> {
    const gpu = await openTestDevice();
    const folder = await TemporaryFolder.create();
    const data = await writeTexts(folder.at("train.jsonl"), counts.data);
    const valid = await writeTexts(folder.at("valid.jsonl"), counts.valid, 3);
    return new ShortRuns(gpu, folder, data, valid);
  }

  /** Settings of a short run on these texts. */
  settings(asked: Partial<AskedSettings> = {}): Promise<TrainSettings> {
    return shortRun({ data: this.data, valid: this.valid, ...asked });
  }

  /** Trains into the folder's `name`: begins there, or resumes what is there. */
  train(name: string, settings: TrainSettings, recording?: Recording, signal?: AbortSignal) {
    return trainInto(this.folder.at(name), settings, recording, signal, this.gpu);
  }

  /** The same, but stopped after its third step, which is no save, and then resumed. */
  async trainInParts(name: string, settings: TrainSettings) {
    const stop = new AbortController();
    const stopping = new Recording();
    stopping.onStep = (step) => void (step === 2 && stop.abort());
    await this.train(name, settings, stopping, stop.signal);
    return await this.train(name, settings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gpu.close();
    await this.folder[Symbol.asyncDispose]();
  }
}
