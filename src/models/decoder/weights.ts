import type { Device } from "../../compute/device/device.ts";
import { BLOCKS_NAMES, type BlocksName, type KernelDtype, NAMED_BLOCKS } from "../../compute/device/dtype.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";
import type { Block } from "../blocks/block.ts";
import type { LayerInputs } from "../blocks/layer-input.ts";
import type { Norm } from "../blocks/norm.ts";
import { isTrained } from "../tensor-plan.ts";
import { PlacedWeights, type Quantized } from "../placed-weights.ts";
import { TableInFile } from "../table-in-file.ts";
import type { WeightOptions } from "../weight-format.ts";
import { checkPlan, plannedMatrices, UNTIED_HEAD } from "./weight-plan.ts";
import { megabytes } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";

export type { Quantized } from "../placed-weights.ts";

export { UNTIED_HEAD } from "./weight-plan.ts";

/** A decoder's weights in GPU memory, in the dtype of the checkpoint; norms and biases in F32. */
export class DecoderWeights {
  /** Learned embeddings of positions; undefined: there are none. */
  readonly positions: Tensor | undefined;
  /** See `DecoderConfig`. */
  readonly layerInputs: LayerInputs | undefined;
  readonly layerTable: TableInFile | undefined;
  /** The blocks of each layer. */
  readonly layers: readonly (readonly Block[])[];
  readonly norm: Norm;
  /** Added to logits. */
  readonly headBias: Tensor | undefined;
  /** Each tensor of the checkpoint by its name: a view of the matrix that it is a part of. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly #tensors: Map<string, Tensor>;
  readonly #gpu: Device;
  readonly #placed: PlacedWeights;
  readonly #untrained: ReadonlySet<string>;
  readonly #embeddingName: string;
  readonly #ownEmbedding: Tensor;
  readonly #ownHead: Tensor | undefined;
  /** The output matrix that something made different from the checkpoint's, or from the embedding of a tied model. */
  #changedHead: Tensor | undefined;
  /** The embedding in place of the checkpoint's, and whether that stays the output matrix. */
  #changedEmbedding: { readonly tensor: Tensor; readonly keepsHead: boolean } | undefined;

  private constructor(gpu: Device, checkpoint: Checkpoint, config: DecoderConfig, options: WeightOptions) {
    const placed = new PlacedWeights(gpu, checkpoint, options);
    this.#gpu = gpu;
    this.#ownEmbedding = placed.place(config.embedding);
    this.#embeddingName = config.embedding.parts[0]?.name ?? "";
    this.positions = config.positions && placed.place(config.positions);
    this.layerInputs = config.layerInputs && placed.placeAll(config.layerInputs);
    this.layerTable = config.layerTable && new TableInFile(checkpoint, config.layerTable);
    this.layers = placed.placeAll(config.layers);
    this.norm = placed.placeAll(config.norm);
    this.#ownHead = config.head && placed.place(config.head);
    this.headBias = config.headBias && placed.place(config.headBias);
    this.#placed = placed;
    this.#untrained = new Set(
      plannedMatrices(config).flatMap((one) => (isTrained(one) ? [] : one.parts.map(({ name }) => name))),
    );
    this.#tensors = new Map(placed.tensors);
    this.tensors = this.#tensors;
  }

  /**
   * Checks the checkpoint against the config and allocates GPU memory for it; `fill` then reads it.
   * @throws RandloraError `model` for weights that are missing, left over or of another shape; `memory`
   */
  static allocate(
    gpu: Device,
    checkpoint: Checkpoint,
    config: DecoderConfig,
    options: WeightOptions = {},
  ): DecoderWeights {
    return new DecoderWeights(gpu, checkpoint, checkPlan(config, checkpoint), options);
  }

  get embedding(): Tensor {
    return this.#changedEmbedding?.tensor ?? this.#ownEmbedding;
  }

  /** The output matrix; the embedding itself when it is tied. */
  get head(): Tensor {
    const tied = this.#changedEmbedding?.keepsHead === true ? this.#ownEmbedding : this.embedding;
    return this.#changedHead ?? this.#ownHead ?? tied;
  }

  /** Bytes in GPU memory. */
  get bytes(): number {
    const changed = [this.#changedHead, this.#changedEmbedding?.tensor];
    return changed.reduce((sum, tensor) => sum + (tensor?.buffer.size ?? 0), this.#placed.bytes);
  }

  /** The checkpoint's names of the matrices that projections multiply with; see `PlacedWeights.projected`. */
  get projected(): ReadonlySet<string> {
    return this.#placed.projected;
  }

  /** Those that the checkpoint stores transposed; see `PlacedWeights.transposed`. */
  get transposed(): ReadonlyMap<string, readonly number[]> {
    return this.#placed.transposed;
  }

  /** The checkpoint's names of what no method trains: numbers, and what stays in the file. */
  get untrained(): ReadonlySet<string> {
    return this.#untrained;
  }

  /** The quantized weights; undefined: there are none. */
  get quantized(): Quantized | undefined {
    return this.#placed.quantized;
  }

  /**
   * Gives the model an output matrix of its own, with undefined content, as the tensor {@link UNTIED_HEAD}: where it is
   * tied, or where blocks could not hold what comes. `restoreTables` takes it away again.
   */
  changeHead(dtype: KernelDtype): void {
    this.#changedHead = this.#changeTable(UNTIED_HEAD, dtype);
  }

  /**
   * The same for the embedding, where blocks could not hold what comes.
   * @param keepsHead the checkpoint's stays the output matrix of a tied model
   */
  changeEmbedding(dtype: KernelDtype, keepsHead: boolean): void {
    this.#changedEmbedding = { tensor: this.#changeTable(this.#embeddingName, dtype), keepsHead };
  }

  #changeTable(name: string, dtype: KernelDtype): Tensor {
    const { shape } = this.#ownEmbedding;
    const table = tensorIn(this.#gpu.memory.allocate(name, tensorBytes(shape, dtype)), shape, dtype);
    this.#tensors.set(name, table);
    return table;
  }

  /** Makes the checkpoint's embedding and output matrix those of the model again, where that was changed. */
  restoreTables(): void {
    if (this.#changedEmbedding !== undefined) {
      this.#gpu.memory.release(this.#changedEmbedding.tensor.buffer);
      this.#changedEmbedding = undefined;
      this.#tensors.set(this.#embeddingName, this.#ownEmbedding);
    }
    if (this.#changedHead === undefined) return;
    this.#gpu.memory.release(this.#changedHead.buffer);
    this.#changedHead = undefined;
    if (this.#ownHead === undefined) this.#tensors.delete(UNTIED_HEAD);
    else this.#tensors.set(UNTIED_HEAD, this.#ownHead);
  }

  /** Reads every tensor but the table that stays in the file; see `PlacedWeights.fill`. */
  async fill(onBytes?: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    await this.layerTable?.open();
    // There is nothing more of it to wait for.
    onBytes?.(this.layerTable?.bytes ?? 0);
    await this.#placed.fill(onBytes, signal);
  }

  release(): void {
    this.restoreTables();
    this.#placed.release();
    this.layerTable?.close();
  }
}

/**
 * Refuses a model whose weights `--memory` leaves no room for, before one of them is read.
 * @throws RandloraError `memory`, with the format that they would fit in; what `DecoderWeights.allocate` throws
 */
export function refuseLargeWeights(
  gpu: Device,
  checkpoint: Checkpoint,
  config: DecoderConfig,
  options: WeightOptions,
): void {
  const { limit, liveBytes } = gpu.memory;
  if (limit === Infinity) return;
  const bytesOf = (more: WeightOptions): number => {
    const counting = gpu.counting();
    DecoderWeights.allocate(counting, checkpoint, config, { ...options, ...more });
    return counting.memory.liveBytes;
  };
  const bytes = bytesOf({});
  if (liveBytes + bytes <= limit) return;
  const fits = (name: BlocksName) => liveBytes + bytesOf({ quantize: NAMED_BLOCKS[name] }) <= limit;
  const name = options.quantize === undefined ? BLOCKS_NAMES.find(fits) : undefined;
  const smaller =
    name === undefined
      ? "choose a smaller model"
      : `give --quantize ${name}, which takes ${megabytes(bytesOf({ quantize: NAMED_BLOCKS[name] }))}`;
  const cause = `the weights take ${megabytes(bytes)}, and --memory allows ${megabytes(limit)}`;
  throw new RandloraError("memory", cause, `${smaller}, or raise --memory`);
}
