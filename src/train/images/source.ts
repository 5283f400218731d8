import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CLASSES_FILE } from "../../adapters/files/classes-file.ts";
import { type BaseModel, modelTypeOf } from "../../adapters/base/base.ts";
import { openBase } from "../../adapters/base/named-base.ts";
import type { ModelTraining, OpenInput, TrainedMethod } from "../../adapters/method/method.ts";
import { isAdapterMethod, methodNamed } from "../../adapters/methods.ts";
import { writePeft } from "../../adapters/formats/convert.ts";
import type { Method, PlaceOptions, Trainable } from "../../adapters/method/training.ts";
import { Parameters } from "../../adapters/method/parameters.ts";
import { type SavedModule, withoutSavedModules, withSavedModules } from "../../adapters/method/train.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import type { LargestMicroBatch } from "../../data/batches/types.ts";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { naming } from "../../files/failure.ts";
import { headArchitecture } from "../../adapters/merge/heads.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { matrixLabel, type PlannedMatrix } from "../../models/tensor-plan.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import { ImageModel, plannedMatrices } from "../../models/vision/image-model.ts";
import { loadImageConfig } from "../../models/vision/index.ts";
import type { Size } from "../../models/vision/patches.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { fingerprint } from "../../files/safetensors/fingerprint.ts";
import type { ImageBatch } from "./batch.ts";
import { HEAD, headOf } from "../model/init-adapter.ts";
import { notesOfBlocks } from "../../terminal/quantized.ts";
import { heldAs, openAdapted, type OpenedAdapter } from "../model/open-adapted.ts";
import { isOfClasses, withOwnValues } from "./own-head.ts";
import { refuseOtherHead, refuseOutside } from "./fit.ts";
import { type ImageTask, needsTexts, placeTask, rowsOf, savedModules, trainedMatrices, withinOf } from "./task.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { OpenOptions, PlacedSource, TrainingSource } from "../model/subject.ts";
import { notesOfCopy, type TrainedHead, writeModel } from "../model/write-model.ts";

/** What a model of images is trained for. */
export interface ImageWork {
  readonly task: ImageTask;
  /** Of the images; by default the size that the checkpoint's positions are for. */
  readonly size?: Size | undefined;
}

/** A model of images in GPU memory. */
export interface PlacedLoadedImageModel extends PlacedSource<ImageBatch> {
  readonly model: ImageModel;
}

/** What the source holds open. */
interface Opened extends OpenedAdapter {
  readonly method: TrainedMethod;
  readonly base: BaseModel;
  readonly checkpoint: Checkpoint;
  /** The modules that are trained whole beside an adapter, or take the place of the checkpoint's. */
  readonly saved: readonly SavedModule[];
  /** The model's own matrices that are trained. */
  readonly trained: readonly PlannedMatrix[];
}

/** What a model of images is trained from. */
export class ImageSource implements TrainingSource<ImageBatch> {
  readonly config: ImageConfig;
  readonly settings: TrainSettings;
  readonly #work: ImageWork;
  readonly #opened: Opened;

  private constructor(settings: TrainSettings, work: ImageWork, config: ImageConfig, opened: Opened) {
    this.settings = settings;
    this.config = config;
    this.#work = work;
    this.#opened = opened;
  }

  /**
   * @throws RandloraError `file`, `format`, `model`; `usage` when the targets match nothing, or the model cannot do the task;
   *   `adapter` for one to go on from that does not fit it; the signal's reason when it is aborted
   */
  static async open(
    settings: TrainSettings,
    { folder, weights }: ModelLocation,
    work: ImageWork,
    { began, signal }: OpenOptions = {},
  ): Promise<ImageSource> {
    const { model, dtype, seed } = settings;
    const { task } = work;
    const method = methodNamed(settings.method);
    const { base: whole, checkpoint } = await openBase(weights ?? folder, folder);
    try {
      const config = await loadImageConfig(folder, checkpoint.tensors);
      const base = { ...whole, within: withinOf(task, config) };
      const { training } = method;
      const isWhole = training.result === "model";
      const trained = isWhole ? trainedMatrices(task, config) : [];
      const matrices = isWhole ? trained : plannedMatrices(config);
      const input = { base, matrices, model, dtype, seed, began, signal };
      const own = (adapter: Adapter) => withoutSavedModules(adapter, [HEAD]);
      const { trainable, adapter } = isWhole
        ? { trainable: await openWhole(training, input, checkpoint), adapter: undefined }
        : await openAdapted(method, training, settings, input, own);
      try {
        refuseOutside(trainable, base.within, adapter);
        const drawn = await savedModules(task, config, seed, adapter);
        if (!isWhole) refuseOtherHead(drawn, base);
        const hasBrought = adapter !== undefined && headOf(adapter) !== undefined;
        const goesOn = !hasBrought && settings.images?.newHead !== true && isOwn(task, config);
        const own = goesOn ? await withOwnValues(drawn, checkpoint) : undefined;
        const saved = own ?? drawn;
        // PEFT has no type of task for images; a language model's wrapper would not take them.
        const whole = withSavedModules(
          withNotes(trainable, own || hasBrought ? [] : notesOfHead(saved, checkpoint)),
          saved,
          {
            task_type: null,
          },
        );
        const opened = { method, base, checkpoint, trainable: whole, adapter, saved, trained };
        return new ImageSource(settings, work, config, opened);
      } catch (thrown) {
        await adapter?.close();
        throw thrown;
      }
    } catch (thrown) {
      await checkpoint.close();
      throw thrown;
    }
  }

  get bytes(): number {
    return this.#opened.checkpoint.bytes;
  }

  get smaller(): string {
    const isSum = this.#work.task.kind === "classify";
    return isSum ? "a smaller --batch-size (--grad-accum makes up for it)" : "a smaller --batch-size";
  }

  async fingerprint(): Promise<string> {
    return await fingerprint(this.#opened.checkpoint);
  }

  rowsOf({ tokens: images }: LargestMicroBatch): number {
    const { task, size } = this.#work;
    return rowsOf(task, this.config, size, images);
  }

  async place(on: Device, place: PlaceOptions): Promise<PlacedLoadedImageModel> {
    using owner = new DisposableStack();
    const gpu = ownedBy(owner, on);
    const { settings, config } = this;
    const { task: asked, size } = this.#work;
    const { method: definition, checkpoint, trainable } = this.#opened;
    const { result } = definition.training;
    const parameters = new Parameters(gpu, trainable.parameters);
    const trained = new Set(this.#opened.trained.map(matrixLabel));
    const own = (label: string) => (trained.has(label) ? parameters.get(label).value : undefined);
    const options = { ...heldAs(settings), place: own, size, withoutText: !needsTexts(asked) };
    const model = ImageModel.allocate(gpu, checkpoint, config, options);
    const method = await trainable.place({ gpu, parameters, tensors: model.tensors, place });
    const { task, begin } = placeTask(gpu, asked, model, parameters);
    const { quantized } = model;
    const summary = {
      trainableParameters: parameters.count,
      modules: trainable.modules,
      quantized,
      notes: [...notesOfBlocks(settings.quantize, quantized), ...trainable.notes],
    };
    const owned = owner.move();
    return {
      model,
      task,
      parameters,
      method,
      result,
      summary,
      begin,
      save: (folder) => this.#save(gpu, folder, { model, parameters, method }),
      async fill(onBytes, signal) {
        await model.fill(onBytes, signal);
        await begin();
      },
      [Symbol.dispose]: () => owned.dispose(),
    };
  }

  async #save(gpu: Device, folder: string, { model, parameters, method }: Savable): Promise<void> {
    const { task } = this.#work;
    const { method: definition, checkpoint, saved, trained } = this.#opened;
    const classes = "classes" in task ? task.classes : undefined;
    if (method.content !== undefined && isAdapterMethod(definition)) {
      await writePeft(folder, await method.content(), definition);
      if (classes === undefined) return;
      const path = join(folder, CLASSES_FILE);
      await naming(path, "write", writeFile(path, `${JSON.stringify(classes, undefined, 2)}\n`));
      return;
    }
    const names = new Set(trained.flatMap(({ parts }) => parts.map(({ name }) => name)));
    const tensors = new Map([...model.tensors].filter(([name]) => names.has(name)));
    const head = classes && this.#head(classes, parameters);
    const keeps = (name: string) => !saved.some((module) => name.startsWith(`${module.name}.`));
    await writeModel(gpu, folder, { checkpoint, tensors, dtype: this.settings.dtype, keeps, head });
  }

  #head(labels: readonly string[], parameters: Parameters): TrainedHead {
    const { saved, base } = this.#opened;
    const { task } = this.#work;
    const tensors = saved.flatMap((module) =>
      module.tensors.map(({ name, stored }) => ({ name, shape: stored, tensor: parameters.get(name).value })),
    );
    const isLinear = "head" in task && task.head === "linear";
    const architecture = isLinear ? headArchitecture(modelTypeOf(base) ?? "") : undefined;
    return { architecture, labels, tensors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.adapter?.close();
    await this.#opened.checkpoint.close();
  }
}

/** What a save is made of. */
interface Savable {
  readonly model: ImageModel;
  readonly parameters: Parameters;
  readonly method: Method;
}

async function openWhole(training: ModelTraining, input: OpenInput, checkpoint: Checkpoint): Promise<Trainable> {
  const trainable = await training.open(input);
  // What is copied with every save is looked at before anything is trained.
  return withNotes(trainable, await notesOfCopy(checkpoint));
}

function withNotes(trainable: Trainable, notes: readonly string[]): Trainable {
  return { ...trainable, notes: [...notes, ...trainable.notes] };
}

/** Has the model a head of the task's classes? */
function isOwn(task: ImageTask, { labels }: ImageConfig): boolean {
  return "classes" in task && isOfClasses(labels, task.classes);
}

/** That a head which the checkpoint has is not gone on with: users of transformers expect that it is. */
function notesOfHead(saved: readonly SavedModule[], { tensors }: Checkpoint): string[] {
  if (saved.length === 0 || !tensors.has(`${HEAD}.weight`)) return [];
  return ["the model's own head is replaced by a new, untrained one"];
}
