import { BytePool } from "../../compute/device/byte-pool.ts";
import type { Device } from "../../compute/device/device.ts";
import { isKernelDtype } from "../../compute/device/dtype.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { copyTensor, plannedBytes } from "../../files/safetensors/writer.ts";
import { convertTensor, matrixSizes, storedWeight } from "./stored-weight.ts";
import {
  type DeltaOnGpu,
  type LoadedAdapter,
  mergeBlock,
  type Rounding,
  uploadDeltas,
  weightBlocks,
  type WeightToMerge,
} from "./merge-tensor.ts";
import type { OutputTensor } from "./plan.ts";

/**
 * Work that is started ahead and finished in order. Each step is given the promise of the step before it, its *turn*:
 * it may read and compute at once, and writes after its turn has come. The bytes in flight are bounded, where more than two
 * steps are.
 */
export class OrderedSteps {
  readonly #limit: number;
  readonly #running: { readonly bytes: number; readonly done: Promise<void> }[] = [];
  #bytes = 0;
  #last: Promise<void> = Promise.resolve();

  /** @param limit bytes that may be in flight; of larger steps there are two, or one could be read only after another was written */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Starts a step as soon as there is room for `bytes`.
   * @throws whatever an earlier step threw
   */
  async add(bytes: number, start: (turn: Promise<void>) => Promise<void>): Promise<void> {
    while (this.#running.length > 1 && this.#bytes + bytes > this.#limit) await this.#finishFirst();
    const done = start(this.#last);
    done.catch(() => {}); // reported by whoever waits for it; until then it must not count as unhandled
    this.#last = done;
    this.#running.push({ bytes, done });
    this.#bytes += bytes;
  }

  /** Waits for every step; throws what the first failing one threw, after the others have settled. */
  async drain(): Promise<void> {
    try {
      while (this.#running.length > 0) await this.#finishFirst();
    } finally {
      await Promise.allSettled(this.#running.splice(0).map(({ done }) => done));
    }
  }

  async #finishFirst(): Promise<void> {
    const first = this.#running.shift();
    if (first === undefined) return;
    this.#bytes -= first.bytes;
    await first.done;
  }
}

/** From this size on a tensor that is copied is, where the file allows it, while others are computed behind it. */
const BESIDE_BYTES = 8 * 2 ** 20;

/** Half of it is read while the other half is written. */
const COPY_BUFFER_BYTES = 2 * 2 ** 20;

/** What a merge did to one tensor. */
export interface TensorReport {
  readonly name: string;
  readonly elements: number;
  readonly maxAbsDelta: number;
  /** Σ ΔW², of all adapters together. */
  readonly sumOfSquares: number;
  readonly changed: number;
}

/** Where tensors go: a file, or a model in memory. */
export interface TensorSink {
  /** The bytes of the tensor of this name, in the order of tensors, piece by piece; they are gone once it has settled. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** Has bytes of a tensor read and written beside what is appended behind them; false: the file does not allow it. See `PlannedFile`. */
  appendBeside?(name: string, bytes: number, read: (out: Uint8Array, from: number) => Promise<void>): Promise<boolean>;
  /** Is a tensor that the base has in blocks to come as them? */
  takesBlocks?(name: string): boolean;
}

export interface StreamOptions {
  /** Bytes of weights that are read and computed at the same time, where those are more than two blocks; 0 by default. */
  readonly ahead?: number | undefined;
  readonly rounding?: Rounding | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told when the first bytes of a tensor come. */
  readonly onTensor?: ((name: string) => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Told of each tensor that ΔW was added to, once all of it has come. */
  readonly onMerged?: ((report: TensorReport) => void) | undefined;
}

/** What tensors are made of. */
interface StreamSource {
  readonly gpu: Device;
  readonly checkpoint: Checkpoint;
  readonly adapters: readonly LoadedAdapter[];
}

/** Tensors of a merge, one after another: blocks are read and computed ahead, and come in the order of the tensors. */
export class TensorStream {
  readonly #source: StreamSource;
  readonly #options: StreamOptions;
  readonly #steps: OrderedSteps;
  readonly #scratch = new BytePool();
  /** ΔW of tensors that have not come whole: when a stream fails, none is left, or still on its way, to the device. */
  readonly #uploads = new Set<Promise<readonly DeltaOnGpu[]>>();
  #copyBuffer: Uint8Array | undefined;

  private constructor(source: StreamSource, options: StreamOptions) {
    this.#source = source;
    this.#options = options;
    this.#steps = new OrderedSteps(options.ahead ?? 0);
  }

  /**
   * Has `give` name the tensors; all have come once this has settled.
   * @throws RandloraError `numeric` naming file and tensor when a merged weight is not finite; `file`, `memory` and `gpu` as
   *   they occur; the signal's reason when it was aborted
   */
  static async run(
    source: StreamSource,
    options: StreamOptions,
    give: (stream: TensorStream) => Promise<void>,
  ): Promise<void> {
    const stream = new TensorStream(source, options);
    try {
      await give(stream);
      await stream.#steps.drain();
    } catch (thrown) {
      // The first failure is the cause: what fails while the rest is put away says less.
      await stream.#steps.drain().catch(() => {});
      for (const deltas of stream.#uploads) await stream.#release(deltas).catch(() => {});
      throw thrown;
    }
  }

  /** Starts the next tensor as soon as there is room. @throws what an earlier one threw */
  async add(tensor: OutputTensor, sink: TensorSink): Promise<void> {
    const { signal, onTensor } = this.#options;
    const { name, work } = tensor;
    signal?.throwIfAborted();
    const write = async (bytes: Uint8Array): Promise<void> => {
      this.#progress(bytes.length);
      await sink.append(name, bytes);
    };
    if (work.kind === "merge") return await this.#merge(tensor, work, write);
    await this.after(async () => {
      signal?.throwIfAborted();
      onTensor?.(name);
      if (work.kind === "convert") await convertTensor(work.source, tensor.dtype, write);
      else await this.#copy(work.tensor, sink);
    });
  }

  /** Does something once all tensors that were added have come. @throws what an earlier one threw */
  async after(work: () => Promise<void>): Promise<void> {
    await this.#steps.add(0, async (turn) => {
      await turn;
      await work();
    });
  }

  /** Steps are planned far ahead: that it was stopped is seen here, piece by piece. */
  #progress(bytes: number): void {
    const { signal, onBytes } = this.#options;
    signal?.throwIfAborted();
    onBytes?.(bytes);
  }

  async #copy(name: string, sink: TensorSink): Promise<void> {
    const { checkpoint } = this.#source;
    const { file, info } = checkpoint.get(name);
    const buffer = (this.#copyBuffer ??= new Uint8Array(COPY_BUFFER_BYTES));
    const progress = (bytes: number): void => this.#progress(bytes);
    if (info.blocks !== undefined && sink.takesBlocks?.(name) === true) {
      const read = (_: unknown, out: Uint8Array, start?: number) => checkpoint.readBlocks(name, out, start);
      return await copyTensor(sink, { read }, { ...info, bytes: info.blocks.bytes }, buffer, progress);
    }
    const read = async (out: Uint8Array, from: number): Promise<void> => {
      progress(out.length);
      await file.read(info, out, from);
    };
    // Of what is decoded, or reordered, as it is read only the last matrix is kept: reads beside others would do one anew for each piece.
    const isAsRead = info.blocks === undefined && info.isReordered !== true;
    if (isAsRead && info.bytes >= BESIDE_BYTES && (await sink.appendBeside?.(name, info.bytes, read)) === true) return;
    await copyTensor(sink, file, info, buffer, progress);
  }

  async #release(deltas: Promise<readonly DeltaOnGpu[]>): Promise<void> {
    this.#uploads.delete(deltas);
    for (const { delta } of await deltas) delta.release();
  }

  async #merge(
    tensor: OutputTensor,
    { source, deltas: planned }: OutputTensor["work"] & { kind: "merge" },
    write: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { name, dtype, shape } = tensor;
    const { gpu, adapters } = this.#source;
    const { rounding = "once", onTensor, onMerged } = this.#options;
    const [rows, cols] = matrixSizes(shape);
    if (!isKernelDtype(dtype)) throw new TypeError(`${name}: planned as ${dtype}`);
    const deltas = uploadDeltas(adapters, planned, storedWeight(source, rows, cols));
    this.#uploads.add(deltas);
    deltas.catch(() => {}); // reported by the blocks that wait for it
    const weight: WeightToMerge = { source, rows, cols, target: dtype, rounding, deltas };
    const blocks = weightBlocks(weight);
    const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0 };
    const bytesPerRow = Math.max(plannedBytes(tensor), source.bytes) / rows;
    for (const [index, block] of blocks.entries()) {
      await this.#steps.add(block.rows * bytesPerRow, async (turn) => {
        const buffer = this.#scratch.take(block.rows * (source.bytes / rows));
        const writeInTurn = async (bytes: Uint8Array): Promise<void> => {
          await turn;
          if (index === 0) onTensor?.(name);
          await write(bytes);
        };
        const found = await mergeBlock(gpu, weight, block, buffer, () => this.#scratch.give(buffer), writeInTurn);
        total.maxAbsDelta = Math.max(total.maxAbsDelta, found.maxAbsDelta);
        total.sumOfSquares += found.sumOfSquares;
        total.changed += found.changed;
        if (index < blocks.length - 1) return;
        await this.#release(deltas);
        onMerged?.({ name, elements: rows * cols, ...total });
      });
    }
  }
}
