import type { LargestMicroBatch } from "../../data/batches/types.ts";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openBase } from "../../adapters/base/named-base.ts";
import type { TrainedMethod } from "../../adapters/method/method.ts";
import { isAdapterMethod, methodNamed } from "../../adapters/methods.ts";
import type { TrainingData } from "../../data/text/samples/load.ts";
import { RandloraError } from "../../files/errors.ts";
import { writePeft } from "../../adapters/formats/convert.ts";
import type { PlaceOptions } from "../../adapters/method/training.ts";
import { Parameters } from "../../adapters/method/parameters.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { type DecoderConfig, isOfOtherPart } from "../../models/decoder/config.ts";
import { recordTraining } from "../../models/decoder/training.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { mostPositions } from "../../models/decoder/positions.ts";
import { plannedMatrices, storedDecoder } from "../../models/decoder/weight-plan.ts";
import { DecoderWeights } from "../../models/decoder/weights.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { fingerprint } from "../../files/safetensors/fingerprint.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import { notesOfBlocks } from "../../terminal/quantized.ts";
import { heldAs, openAdapted, type OpenedAdapter } from "../model/open-adapted.ts";
import type { Task } from "../model/task.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { OpenOptions, PlacedSource, Subject, TrainingSource } from "../model/subject.ts";
import { notesOfCopy, writeModel } from "../model/write-model.ts";
import { dataHash, planRun } from "./data.ts";

/** A decoder in GPU memory, which is given back when it is disposed of. */
export interface PlacedModel extends PlacedSource<MicroBatch> {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
}

/** What is trained, and the files that it needs open. */
interface Opened extends OpenedAdapter {
  /** What the user should know of the base's files: one line each. */
  readonly notes: readonly string[];
}

/** @throws RandloraError `usage` for samples that may be longer than a model with learned positions takes */
function refuseLongSamples(config: DecoderConfig, { maxLength }: TrainSettings): void {
  const most = mostPositions(config);
  if (maxLength === null || maxLength <= most) return;
  const cause = `--max-length ${maxLength}: this model has position embeddings for ${most} tokens`;
  throw new RandloraError("usage", cause, `give at most ${most}`);
}

/** What a language model is trained from. */
export class ModelSource implements TrainingSource<MicroBatch> {
  readonly config: DecoderConfig;
  readonly settings: TrainSettings;
  readonly smaller = "a smaller --batch-size (--grad-accum makes up for it) or --max-length";
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
    { began, signal }: OpenOptions = {},
  ): Promise<ModelSource> {
    const method = methodNamed(settings.method);
    const { training } = method;
    const { model, dtype, seed } = settings;
    const described = await loadConfig(folder);
    const { base, checkpoint } = await openBase(weights ?? folder, folder);
    try {
      const config = storedDecoder(described, checkpoint.tensors);
      refuseLongSamples(config, settings);
      const matrices = plannedMatrices(config);
      const input = { base, matrices, model, dtype, seed, began, signal };
      const opened =
        training.result === "model"
          ? // What is copied with every save is looked at before anything is trained.
            { trainable: await training.open(input), adapter: undefined, notes: await notesOfCopy(checkpoint) }
          : { ...(await openAdapted(method, training, settings, input)), notes: [] };
      return new ModelSource(settings, config, method, checkpoint, opened);
    } catch (thrown) {
      await checkpoint.close();
      throw thrown;
    }
  }

  get bytes(): number {
    return this.#checkpoint.bytes;
  }

  async fingerprint(): Promise<string> {
    return await fingerprint(this.#checkpoint);
  }

  rowsOf({ tokens }: LargestMicroBatch): number {
    return tokens;
  }

  async place(on: Device, place: PlaceOptions): Promise<PlacedModel> {
    using owner = new DisposableStack();
    const gpu = ownedBy(owner, on);
    const { config, settings } = this;
    const { trainable, notes } = this.#opened;
    const checkpoint = this.#checkpoint;
    const definition = this.#method;
    const { result } = definition.training;
    const { dtype, quantize } = settings;
    const parameters = new Parameters(gpu, trainable.parameters);
    const trained = { place: (label: string) => parameters.get(label).value };
    const weights = DecoderWeights.allocate(gpu, checkpoint, config, result === "model" ? trained : heldAs(settings));
    owner.defer(() => weights.layerTable?.close());
    const { tensors, transposed } = weights;
    const method = await trainable.place({ gpu, parameters, tensors, place });
    const { content } = method;
    const keeps = (name: string) => isOfOtherPart(config, name) || weights.untrained.has(name);
    const summary = {
      trainableParameters: parameters.count,
      modules: trainable.modules,
      quantized: weights.quantized,
      notes: [...notes, ...notesOfBlocks(quantize, weights.quantized), ...trainable.notes],
    };
    const save = async (folder: string) => {
      if (content !== undefined && isAdapterMethod(definition)) await writePeft(folder, await content(), definition);
      else await writeModel(gpu, folder, { checkpoint, tensors, transposed, dtype, keeps });
    };
    const task = languageModelling(config, weights);
    const fill = weights.fill.bind(weights);
    const owned = owner.move();
    const release = () => owned.dispose();
    return { config, weights, fill, task, parameters, method, result, summary, save, [Symbol.dispose]: release };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.adapter?.close();
    await this.#checkpoint.close();
  }
}

/** The next token of each supervised one of a text: negative log-likelihoods. */
function languageModelling(config: DecoderConfig, weights: DecoderWeights): Task<MicroBatch> {
  return {
    losses: (recorder, linears, batch, options) => recordTraining(recorder, config, weights, linears, batch, options),
    termsOf: ({ targets }) => targets.length,
    // Samples as long as the model takes them.
    probe({ tokens, targets }) {
      const ids = new Uint32Array(tokens);
      return {
        ids,
        positions: ids.map((_, at) => at % config.contextLength),
        starts: ids.map((_, at) => at - (at % config.contextLength)),
        rows: new Uint32Array(targets).map((_, at) => at),
        targets: new Uint32Array(targets),
        samples: 1,
      };
    },
  };
}

/** Texts, and the language models that are trained on them. */
export function textSubject(data: TrainingData): Subject<MicroBatch> {
  return {
    unit: "tokens",
    sampleFormat: data.train.format,
    dataHashes: () => ({ data: dataHash(data) }),
    plan: (settings, processes) => planRun(settings, data, processes),
    open: ModelSource.open,
  };
}
