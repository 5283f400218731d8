import type { Device } from "../../src/compute/device/device.ts";
import type { Order } from "../../src/adapters/delta/scaled-bases/shape.ts";
import { loadConfig } from "../../src/models/decoder/architectures/index.ts";
import type { GeneratorName, Sparsity } from "../../src/compute/random/names.ts";
import { spareBytes } from "../../src/train/loop/choose-options.ts";
import type { MicroBatch } from "../../src/data/text/samples/types.ts";
import { Engine, type EngineOptions, estimateBytes } from "../../src/train/loop/engine.ts";
import type { PlaceOptions } from "../../src/adapters/method/training.ts";
import { ModelSource, type PlacedModel } from "../../src/train/text/model.ts";
import { resolveSettings } from "../../src/train/settings/resolve-settings.ts";
import type { TrainSettings } from "../../src/train/settings/settings.ts";
import { microBatchOf, planOf, ROW } from "./synthetic.ts";

/** What most papers adapt of a llama, and what every figure here adapts. */
export const TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"] as const;

/** A method of training. */
export interface MethodOptions {
  readonly method: "randlora" | "lora" | "nola";
  readonly rank: number;
  readonly variant?: "rank-r" | undefined;
  readonly sparsity?: Sparsity | undefined;
  readonly generator?: GeneratorName | undefined;
}

/** A method at work. */
export interface TraineeOptions extends MethodOptions {
  /** Of a micro-batch, one a step. */
  readonly tokens: number;
  /** RandLoRA's order of products everywhere, W' held; undefined: what the command would choose. */
  readonly order?: Order | undefined;
}

/** A model and an adapter in GPU memory that are trained on one synthetic micro-batch again and again. */
export class Trainee implements AsyncDisposable {
  readonly model: PlacedModel;
  /** GPU bytes that `finetune --dry-run` would foretell. */
  readonly estimatedBytes: number;
  readonly #gpu: Device;
  readonly #source: ModelSource;
  readonly #engine: Engine<MicroBatch>;
  readonly #tokens: number;
  #index = 0;

  private constructor(
    gpu: Device,
    source: ModelSource,
    model: PlacedModel,
    options: EngineOptions,
    tokens: number,
    bytes: number,
  ) {
    this.model = model;
    this.estimatedBytes = bytes;
    this.#gpu = gpu;
    this.#source = source;
    this.#engine = new Engine(gpu, model, options);
    this.#tokens = tokens;
  }

  /** Places the model of a folder; activations are kept, as the comparisons want it. */
  static async open(gpu: Device, folder: string, wanted: TraineeOptions): Promise<Trainee> {
    const { tokens, order } = wanted;
    const source = await openSource(folder, wanted);
    const { betas, eps, weightDecay, gradClip } = source.settings;
    const staging = gpu.staging;
    const options = { optimizer: { betas, eps, weightDecay, gradClip }, checkpointing: false, staging };
    const usual = placeOptions(gpu, tokens);
    const { choices: chosen } = (await source.place(gpu.counting(), usual)).method;
    const { orders } = chosen;
    const same = Array.isArray(orders) ? orders.map(() => (order === "factored" ? order : `${order}+kept`)) : [];
    const place = { ...usual, choices: order === undefined ? chosen : { orders: same } };
    const counting = gpu.counting();
    const bytes = await estimateBytes(
      counting,
      await source.place(counting, place),
      options,
      planOf(tokens),
      undefined,
    );
    const model = await source.place(gpu, place);
    await model.weights.fill();
    const trainee = new Trainee(gpu, source, model, options, tokens, bytes);
    await trainee.#engine.begin();
    return trainee;
  }

  /** The orders in use, each with the number of matrices: `merged-h+kept × 30`. Empty for LoRA. */
  get orders(): string {
    const { orders } = this.model.method.choices;
    if (!Array.isArray(orders)) return "";
    const counts = new Map<string, number>();
    for (const order of orders) counts.set(order, (counts.get(order) ?? 0) + 1);
    return [...counts].map(([order, count]) => `${order} × ${count}`).join(", ");
  }

  /** One step, to its end. @throws when the loss is no number: then there is nothing to time */
  async step(): Promise<void> {
    const index = this.#index++;
    const { vocabularySize } = this.model.config;
    const batch = microBatchOf(this.#tokens, vocabularySize, index);
    const targets = batch.targets.length;
    const step = { index, epoch: 0, shards: [{ first: 0, microBatches: [batch] }], targets, tokens: this.#tokens };
    const { outcome } = await this.#engine.step(step, 1e-4);
    const { loss } = await outcome;
    await this.#gpu.idle();
    if (!Number.isFinite(loss)) throw new Error(`the loss of step ${index} is ${loss}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#engine[Symbol.dispose]();
    this.model[Symbol.dispose]();
    await this.#source[Symbol.asyncDispose]();
  }
}

/** The rank at which LoRA has about as many parameters as RandLoRA: LoRA's are a multiple of its rank. */
export async function equalLoraRank(gpu: Device, folder: string, rank: number): Promise<number> {
  const count = async (method: TraineeOptions["method"], rank: number): Promise<number> => {
    await using source = await openSource(folder, { method, rank });
    using model = await source.place(gpu.counting(), placeOptions(gpu, ROW));
    return model.summary.trainableParameters;
  };
  return Math.max(1, Math.round((await count("randlora", rank)) / (await count("lora", 1))));
}

async function openSource(folder: string, wanted: MethodOptions): Promise<ModelSource> {
  return await ModelSource.open(await settingsOf(folder, wanted), { folder, weights: undefined });
}

/** The settings of a run by `finetune`. */
export async function settingsOf(folder: string, wanted: MethodOptions): Promise<TrainSettings> {
  const { method, rank, variant, sparsity, generator } = wanted;
  const { architecture, contextLength } = await loadConfig(folder);
  const asked = {
    model: folder,
    data: "synthetic",
    method,
    rank,
    targets: [...TARGETS],
    ...(variant === undefined ? {} : { variant }),
    ...(sparsity === undefined ? {} : { sparsity }),
    ...(generator === undefined ? {} : { generator }),
  };
  return resolveSettings(asked, { modelType: architecture, contextLength });
}

/** As `finetune` reckons, with one micro-batch a step. */
function placeOptions(gpu: Device, tokens: number): PlaceOptions {
  return { staging: gpu.staging, tokens, microBatches: 1, budget: spareBytes(gpu), choices: undefined };
}
