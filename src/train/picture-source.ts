import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeBase } from "../adapters/base.ts";
import type { MethodDefinition } from "../adapters/method.ts";
import { writePeft } from "../adapters/peft-write.ts";
import type { MethodChoices, PlaceOptions, Trainable } from "../adapters/training/method.ts";
import { Parameters } from "../adapters/training/parameters.ts";
import { withSavedModules } from "../adapters/training/saved-modules.ts";
import type { AdapterSettings, HeldDtype } from "../adapters/training/settings.ts";
import type { Device } from "../device/device.ts";
import { naming } from "../files/failure.ts";
import { readConfig } from "../merge/model-config.ts";
import { CLASSES_FILE } from "../merge/new-head.ts";
import type { ModelLocation } from "../models/locate.ts";
import type { ImageConfig } from "../models/vision/config.ts";
import { ImageModel, plannedMatrices } from "../models/vision/image-model.ts";
import { loadImageConfig } from "../models/vision/index.ts";
import type { Size } from "../models/vision/patches.ts";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import { NAMED_DTYPES } from "../safetensors/dtype.ts";
import { fingerprint } from "../safetensors/fingerprint.ts";
import type { PictureBatch } from "../tasks/pictures.ts";
import type { TrainedModel } from "./engine.ts";
import { needsTexts, type PictureTask, placeTask, savedModules, withinOf } from "./picture-task.ts";

/** What a model of pictures is trained from, and how. */
export interface PictureSettings {
  /** What the adapter's configuration calls the base. */
  readonly model: string;
  readonly method: MethodDefinition;
  /** The method's own settings among them. */
  readonly adapter: AdapterSettings;
  readonly task: PictureTask;
  readonly dtype: HeldDtype;
  readonly seed: number;
  /** Of the pictures; by default the size that the checkpoint's positions are for. */
  readonly size?: Size | undefined;
}

/** A model of pictures in GPU memory, which is given back when it is disposed of. */
export interface PlacedPictureModel extends TrainedModel<PictureBatch>, Disposable {
  readonly model: ImageModel;
  /** Reads the weights, and computes what depends on them alone; see `ImageModel.fill`. */
  fill(onBytes?: (bytes: number) => void, signal?: AbortSignal): Promise<void>;
}

/**
 * What a model of pictures is trained from, beside the GPU: opened and checked once, placed on as many GPUs as one likes.
 * Close it after the last save.
 */
export class PictureSource implements AsyncDisposable {
  readonly config: ImageConfig;
  readonly settings: PictureSettings;
  readonly #checkpoint: Checkpoint;
  readonly #trainable: Trainable;

  private constructor(settings: PictureSettings, config: ImageConfig, checkpoint: Checkpoint, trainable: Trainable) {
    this.settings = settings;
    this.config = config;
    this.#checkpoint = checkpoint;
    this.#trainable = trainable;
  }

  /**
   * @param began what the method chose when the run began, for a resumed one
   * @throws RandloraError `file`, `format`, `model`; `usage` when the targets match nothing, or the model cannot do the task;
   *   the signal's reason when it is aborted
   */
  static async open(
    settings: PictureSettings,
    { folder, weights }: ModelLocation,
    began?: MethodChoices,
    signal?: AbortSignal,
  ): Promise<PictureSource> {
    const { model, method, adapter, task, dtype, seed } = settings;
    const checkpoint = await Checkpoint.open(weights ?? folder);
    try {
      const config = await loadImageConfig(folder, checkpoint.tensors);
      const json = await readConfig(folder);
      const base = { ...describeBase(checkpoint, json?.value), within: withinOf(task, config) };
      const input = { base, matrices: plannedMatrices(config), model, dtype, seed, began, signal };
      const inner = await method.training.open(input, adapter, undefined);
      // PEFT has no type of task for pictures; a language model's wrapper would not take them.
      const trainable = withSavedModules(inner, savedModules(task, config, seed), { task_type: null });
      return new PictureSource(settings, config, checkpoint, trainable);
    } catch (thrown) {
      await checkpoint.close();
      throw thrown;
    }
  }

  /** Bytes of the checkpoint. */
  get bytes(): number {
    return this.#checkpoint.bytes;
  }

  /** Tells the base from another under the same name. @throws RandloraError `file` */
  async fingerprint(): Promise<string> {
    return await fingerprint(this.#checkpoint);
  }

  /**
   * Allocates parameters and weights; `fill` reads the latter.
   * @throws RandloraError `model`, `memory`
   */
  async place(gpu: Device, place: PlaceOptions): Promise<PlacedPictureModel> {
    const { settings, config } = this;
    const { dtype, size, task: asked } = settings;
    const trainable = this.#trainable;
    const parameters = new Parameters(gpu, trainable.parameters);
    const held = { dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype] };
    const options = { ...held, size, withoutText: !needsTexts(asked) };
    const model = ImageModel.allocate(gpu, this.#checkpoint, config, options);
    const method = await trainable.place({ gpu, parameters, tensors: model.tensors, place });
    const { content } = method;
    if (content === undefined) throw new TypeError(`${settings.method.name} writes no adapter`);
    const { task, begin, release } = placeTask(gpu, asked, model, parameters);
    const { modules, notes } = trainable;
    return {
      model,
      task,
      parameters,
      method,
      result: "adapter",
      summary: { trainableParameters: parameters.count, modules, notes },
      async save(folder) {
        await writePeft(folder, await content(), settings.method);
        if (!("classes" in asked)) return;
        const path = join(folder, CLASSES_FILE);
        await naming(path, "write", writeFile(path, `${JSON.stringify(asked.classes, undefined, 2)}\n`));
      },
      async fill(onBytes, signal) {
        await model.fill(onBytes, signal);
        await begin();
      },
      [Symbol.dispose]() {
        release();
        method.release();
        parameters.release();
        model.release();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checkpoint.close();
  }
}
