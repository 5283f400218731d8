import { NAMED_BLOCKS } from "../device/dtype.ts";
import type { Device } from "../device/device.ts";
import { describeBase } from "../adapters/base.ts";
import type { MethodDefinition, TrainedMethod } from "../adapters/method.ts";
import { isAdapterMethod, methodNamed } from "../adapters/methods.ts";
import { writePeft } from "../adapters/peft-write.ts";
import type { AdapterTraining, OpenInput } from "../adapters/training/definition.ts";
import type { MethodChoices, PlaceOptions, Trainable } from "../adapters/training/method.ts";
import { Parameters } from "../adapters/training/parameters.ts";
import type { Adapter } from "../adapters/types.ts";
import { readConfig } from "../merge/model-config.ts";
import { loadConfig } from "../models/architectures/index.ts";
import type { DecoderConfig } from "../models/config.ts";
import type { ModelLocation } from "../models/locate.ts";
import { plannedMatrices, planWeights } from "../models/weight-plan.ts";
import { DecoderWeights } from "../models/weights.ts";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import { NAMED_DTYPES } from "../safetensors/dtype.ts";
import { fingerprint } from "../safetensors/fingerprint.ts";
import { languageModelling } from "../tasks/language-modelling.ts";
import type { MicroBatch } from "../text/data/types.ts";
import type { TrainedModel } from "./engine.ts";
import { openInitial } from "./init-adapter.ts";
import type { TrainSettings } from "./settings.ts";
import { notesOfCopy, writeModel } from "./write-model.ts";

/** A decoder in GPU memory, which is given back when it is disposed of. */
export interface PlacedModel extends TrainedModel<MicroBatch>, Disposable {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
}

export interface OpenOptions {
  /** What the method chose when the run began, for a resumed one. */
  readonly began?: MethodChoices | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Every method that there is. */
  readonly methods?: readonly TrainedMethod[] | undefined;
}

/** What is trained, and the files that it needs open. */
interface Opened {
  readonly trainable: Trainable;
  readonly adapter: Adapter | undefined;
  /** What the user should know of the base's files: one line each. */
  readonly notes: readonly string[];
}

/**
 * What a model is trained from, beside the GPU: opened and checked once, placed on as many GPUs as one likes (a counting
 * one first). Close it after the last save: where a whole model is written, files are copied from it.
 */
export class ModelSource implements AsyncDisposable {
  readonly config: DecoderConfig;
  readonly settings: TrainSettings;
  readonly #method: TrainedMethod;
  readonly #checkpoint: Checkpoint;
  readonly #opened: Opened;

  private constructor(
    settings: TrainSettings,
    config: DecoderConfig,
    method: TrainedMethod,
    checkpoint: Checkpoint,
    opened: Opened,
  ) {
    this.settings = settings;
    this.config = config;
    this.#method = method;
    this.#checkpoint = checkpoint;
    this.#opened = opened;
  }

  /**
   * @throws RandloraError `file`, `format`, `model`; `usage` when the targets match nothing; the signal's reason when it
   *   is aborted
   */
  static async open(
    settings: TrainSettings,
    { folder, weights }: ModelLocation,
    { began, signal, methods }: OpenOptions = {},
  ): Promise<ModelSource> {
    const method = methodNamed(settings.method, methods);
    const { training } = method;
    const { model, dtype, seed } = settings;
    const config = await loadConfig(folder);
    const checkpoint = await Checkpoint.open(weights ?? folder);
    try {
      const json = await readConfig(folder);
      const base = describeBase(checkpoint, json?.value);
      const matrices = plannedMatrices(planWeights(config));
      const input = { base, matrices, model, dtype, seed, began, signal };
      const opened =
        training.result === "adapter"
          ? await openAdapted(training, settings, input, isAdapterMethod(method) ? method.beginsWith : undefined)
          : // What is copied with every save is looked at before anything is trained.
            { trainable: await training.open(input), adapter: undefined, notes: await notesOfCopy(checkpoint) };
      return new ModelSource(settings, config, method, checkpoint, opened);
    } catch (thrown) {
      await checkpoint.close();
      throw thrown;
    }
  }

  /** Bytes of the checkpoint: what `fill` of the weights reads. */
  get bytes(): number {
    return this.#checkpoint.bytes;
  }

  /** Tells the base from another under the same name. @throws RandloraError `file` */
  async fingerprint(): Promise<string> {
    return await fingerprint(this.#checkpoint);
  }

  /**
   * Allocates parameters and weights; the weights' `fill` reads the latter.
   * @throws RandloraError `model`, `memory`
   */
  async place(gpu: Device, place: PlaceOptions): Promise<PlacedModel> {
    const { config, settings } = this;
    const { trainable, notes } = this.#opened;
    const checkpoint = this.#checkpoint;
    const definition = this.#method;
    const { result } = definition.training;
    const { dtype, quantize } = settings;
    const parameters = new Parameters(gpu, trainable.parameters);
    const held = {
      dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype],
      quantize: quantize === null ? undefined : NAMED_BLOCKS[quantize],
    };
    const trained = { place: (label: string) => parameters.get(label).value };
    const weights = DecoderWeights.allocate(gpu, checkpoint, config, result === "model" ? trained : held);
    const { tensors } = weights;
    const method = await trainable.place({ gpu, parameters, tensors, place });
    const { content } = method;
    const summary = {
      trainableParameters: parameters.count,
      modules: trainable.modules,
      quantised: weights.quantised,
      notes: [...notes, ...trainable.notes],
    };
    const save = async (folder: string) => {
      if (content !== undefined && isAdapterMethod(definition)) await writePeft(folder, await content(), definition);
      else await writeModel(gpu, folder, { checkpoint, tensors, dtype });
    };
    const release = () => {
      method.release();
      parameters.release();
      weights.release();
    };
    const task = languageModelling(config, weights);
    return { config, weights, task, parameters, method, result, summary, save, [Symbol.dispose]: release };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.adapter?.close();
    await this.#checkpoint.close();
  }
}

async function openAdapted(
  training: AdapterTraining,
  { adapter: settings, method }: TrainSettings,
  input: OpenInput,
  others: readonly MethodDefinition[] | undefined,
): Promise<Opened> {
  if (settings === null) throw new TypeError(`${method} without settings of an adapter`);
  const { initAdapter, initSha256 } = settings;
  const adapter = initAdapter === null ? undefined : await openInitial(initAdapter, { method, initSha256 }, others);
  try {
    return { trainable: await training.open(input, settings, adapter), adapter, notes: [] };
  } catch (thrown) {
    await adapter?.close();
    throw thrown;
  }
}
