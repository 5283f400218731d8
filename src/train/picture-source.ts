import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BaseModel, describeBase, modelTypeOf } from "../adapters/base.ts";
import type { MethodDefinition, TrainedMethod } from "../adapters/method.ts";
import type { OpenInput } from "../adapters/training/definition.ts";
import { isAdapterMethod } from "../adapters/methods.ts";
import { writePeft } from "../adapters/peft-write.ts";
import type { Method, MethodChoices, PlaceOptions, Trainable } from "../adapters/training/method.ts";
import { Parameters } from "../adapters/training/parameters.ts";
import { type SavedModule, withSavedModules } from "../adapters/training/saved-modules.ts";
import type { AdapterSettings, HeldDtype } from "../adapters/training/settings.ts";
import type { Device } from "../device/device.ts";
import { naming } from "../files/failure.ts";
import { readConfig } from "../merge/model-config.ts";
import { CLASSES_FILE, headArchitecture } from "../merge/new-head.ts";
import type { ModelLocation } from "../models/locate.ts";
import type { ImageConfig } from "../models/vision/config.ts";
import { ImageModel, plannedMatrices } from "../models/vision/image-model.ts";
import { loadImageConfig } from "../models/vision/index.ts";
import { matrixLabel, type PlannedMatrix } from "../models/tensor-plan.ts";
import type { Size } from "../models/vision/patches.ts";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import { NAMED_DTYPES } from "../safetensors/dtype.ts";
import { fingerprint } from "../safetensors/fingerprint.ts";
import type { PictureBatch } from "../tasks/pictures.ts";
import type { TrainedModel } from "./engine.ts";
import { needsTexts, type PictureTask, placeTask, savedModules, trainedMatrices, withinOf } from "./picture-task.ts";
import { notesOfCopy, type TrainedHead, writeModel } from "./write-model.ts";

/** What a model of pictures is trained from, and how. */
export interface PictureSettings {
  /** What the adapter's configuration calls the base. */
  readonly model: string;
  readonly method: TrainedMethod;
  /** The method's own settings among them; null where all weights are trained. */
  readonly adapter: AdapterSettings | null;
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

interface Opened {
  readonly checkpoint: Checkpoint;
  readonly trainable: Trainable;
  /** The modules that are trained whole beside an adapter, or take the place of the checkpoint's. */
  readonly saved: readonly SavedModule[];
  /** The model's own matrices that are trained. */
  readonly trained: readonly PlannedMatrix[];
}

/**
 * What a model of pictures is trained from, beside the GPU: opened and checked once, placed on as many GPUs as one likes.
 * Close it after the last save.
 */
export class PictureSource implements AsyncDisposable {
  readonly config: ImageConfig;
  readonly settings: PictureSettings;
  readonly #base: BaseModel;
  readonly #checkpoint: Checkpoint;
  readonly #trainable: Trainable;
  readonly #saved: readonly SavedModule[];
  readonly #trained: readonly PlannedMatrix[];

  private constructor(settings: PictureSettings, config: ImageConfig, base: BaseModel, opened: Opened) {
    this.settings = settings;
    this.config = config;
    this.#base = base;
    this.#checkpoint = opened.checkpoint;
    this.#trainable = opened.trainable;
    this.#saved = opened.saved;
    this.#trained = opened.trained;
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
      const input = { base, model, dtype, seed, began, signal };
      const trained = isAdapterMethod(method) ? [] : trainedMatrices(task, config);
      const inner = isAdapterMethod(method)
        ? await openAdapted(method, { ...input, matrices: plannedMatrices(config) }, adapter)
        : await openWhole(method, { ...input, matrices: trained }, checkpoint);
      const saved = savedModules(task, config, seed);
      // PEFT has no type of task for pictures; a language model's wrapper would not take them.
      const trainable = withSavedModules(inner, saved, { task_type: null });
      return new PictureSource(settings, config, base, { checkpoint, trainable, saved, trained });
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
    const { result } = settings.method.training;
    const trained = new Set(this.#trained.map(matrixLabel));
    const own = (label: string) => (trained.has(label) ? parameters.get(label).value : undefined);
    const options = { ...held, place: own, size, withoutText: !needsTexts(asked) };
    const model = ImageModel.allocate(gpu, this.#checkpoint, config, options);
    const method = await trainable.place({ gpu, parameters, tensors: model.tensors, place });
    const { task, begin, release } = placeTask(gpu, asked, model, parameters);
    const { modules, notes } = trainable;
    return {
      model,
      task,
      parameters,
      method,
      result,
      summary: { trainableParameters: parameters.count, modules, notes },
      save: (folder) => this.#save(gpu, folder, { model, parameters, method }),
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

  async #save(gpu: Device, folder: string, { model, parameters, method }: Savable): Promise<void> {
    const { task, dtype, method: definition } = this.settings;
    const classes = "classes" in task ? task.classes : undefined;
    if (method.content !== undefined && isAdapterMethod(definition)) {
      await writePeft(folder, await method.content(), definition);
      if (classes === undefined) return;
      const path = join(folder, CLASSES_FILE);
      await naming(path, "write", writeFile(path, `${JSON.stringify(classes, undefined, 2)}\n`));
      return;
    }
    const names = new Set(this.#trained.flatMap(({ parts }) => parts.map(({ name }) => name)));
    const tensors = new Map([...model.tensors].filter(([name]) => names.has(name)));
    const head = classes && this.#head(classes, parameters);
    const keeps = (name: string) => !this.#saved.some((module) => name.startsWith(`${module.name}.`));
    await writeModel(gpu, folder, { checkpoint: this.#checkpoint, tensors, dtype, keeps, head });
  }

  #head(labels: readonly string[], parameters: Parameters): TrainedHead {
    const tensors = this.#saved.flatMap((module) =>
      module.tensors.map(({ name, stored }) => ({ name, shape: stored, tensor: parameters.get(name).value })),
    );
    const isLinear = "head" in this.settings.task && this.settings.task.head === "linear";
    const architecture = isLinear ? headArchitecture(modelTypeOf(this.#base) ?? "") : undefined;
    return { architecture, labels, tensors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checkpoint.close();
  }
}

/** What a save is made of. */
interface Savable {
  readonly model: ImageModel;
  readonly parameters: Parameters;
  readonly method: Method;
}

async function openAdapted(
  { name, training }: MethodDefinition,
  input: OpenInput,
  adapter: AdapterSettings | null,
): Promise<Trainable> {
  if (adapter === null) throw new TypeError(`${name} without settings of an adapter`);
  return await training.open(input, adapter, undefined);
}

async function openWhole({ training, name }: TrainedMethod, input: OpenInput, checkpoint: Checkpoint) {
  if (training.result !== "model") throw new TypeError(`${name} trains no whole model`);
  const trainable = await training.open(input);
  // What is copied with every save is looked at before anything is trained.
  return { ...trainable, notes: [...(await notesOfCopy(checkpoint)), ...trainable.notes] };
}
