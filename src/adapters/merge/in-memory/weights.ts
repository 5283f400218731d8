import type { Device } from "../../../compute/device/device.ts";
import { type OpenBase, openBase } from "../../base/named-base.ts";
import { RandloraError } from "../../../files/errors.ts";
import { isBlockDtype, isKernelDtype } from "../../../compute/device/dtype.ts";
import { type AdapterChoice, MergedCheckpoint } from "../merged-checkpoint.ts";
import type { MergePlan, OutputTensor } from "../plan.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { isOfOtherPart } from "../../../models/decoder/config.ts";
import { UNTIED_HEAD } from "../../../models/decoder/weights.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import { isFloat, type OutputDtype, dtypeBytes, type FloatDtype } from "../../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { elementBytes, type Tensor } from "../../../compute/tensor/tensor.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";

export interface ApplyOptions {
  readonly generator?: GeneratorName | undefined;
  /** What `merge --dtype` would be told; the decoder must hold what changes in this dtype, or in F32. */
  readonly dtype?: OutputDtype | undefined;
  /** Leaves out ΔW of these weights, which something else computes with. */
  readonly beside?: ReadonlySet<string> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told how many of the changed tensors are done, first when bytes of the first one come. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * The weights of a decoder with adapters added: each tensor in GPU memory becomes, byte for byte, what `merge` would
 * write. Adapters are never subtracted: whatever changes is read from the checkpoint again.
 */
export class AdaptedWeights implements AsyncDisposable {
  readonly #gpu: Device;
  readonly #decoder: Decoder;
  readonly #base: OpenBase;
  /** Tensors that do not hold what the checkpoint does. */
  #changed: ReadonlySet<string> = new Set();
  #isMixture = false;

  private constructor(decoder: Decoder, base: OpenBase) {
    this.#gpu = decoder.gpu;
    this.#decoder = decoder;
    this.#base = base;
  }

  /** @param path of the checkpoint that the decoder was loaded from. @throws RandloraError `file`, `format` */
  static async open(decoder: Decoder, path: string): Promise<AdaptedWeights> {
    return new AdaptedWeights(decoder, await openBase(path));
  }

  /** Did the last `apply` fail half-way? One that failed earlier has changed nothing. */
  get isMixture(): boolean {
    return this.#isMixture;
  }

  /**
   * Makes the weights those of the base with exactly these adapters. What the adapters say is checked before anything
   * changes; after a later failure, or when the signal is aborted, the weights are a mixture until the next call.
   * @returns notes for the user
   * @throws RandloraError `adapter` with the reason why one cannot be applied; `numeric`, `file`, `memory`
   */
  async apply(choices: readonly AdapterChoice[], options: ApplyOptions = {}): Promise<readonly string[]> {
    const { signal, onProgress } = options;
    await using merged = await this.#open(choices, options);
    const { plan } = merged;
    const changes = merged.changes.filter(({ name, work }) => {
      return this.#isUsed(name) && (work.kind !== "merge" || options.beside?.has(name) !== true);
    });
    const withoutDeltas = changes.every(({ work }) => work.kind !== "merge");
    await merged.load(this.#gpu, { signal, withoutDeltas });
    this.#isMixture = true;
    const filled = [...this.#changeTables(plan, changes), ...changes];
    const names = new Set(filled.map(({ name }) => name));
    const restored = plan.tensors.filter(({ name }) => this.#changed.has(name) && !names.has(name));
    const { tensors } = this.#decoder.weights;
    // What is quantized was never changed.
    const work = [...restored.filter(({ name }) => isKernelDtype(tensors.get(name)?.dtype ?? "")), ...filled];
    this.#changed = new Set([...this.#changed, ...names]);
    let done = 0;
    const onTensor = () => onProgress?.(done++, work.length);
    await merged.stream({ signal, onTensor }, async (stream) => {
      for (const tensor of work) {
        // Only once its turn has come: one of what is transposed holds a whole tensor.
        let writer: TensorWriter | undefined;
        await stream.add(tensor, {
          append: async (_, bytes) => (writer ??= this.#writerOf(tensor)).append(bytes),
        });
        await stream.after(async () => writer?.finish());
      }
    });
    onProgress?.(work.length, work.length);
    await this.#gpu.idle();
    this.#changed = names;
    this.#isMixture = false;
    return merged.notes;
  }

  /**
   * Finds out whether `apply` would take these adapters; nothing changes.
   * @returns notes for the user
   * @throws RandloraError as `apply` does before anything changes
   */
  async check(choices: readonly AdapterChoice[], generator?: GeneratorName): Promise<readonly string[]> {
    await using merged = await this.#open(choices, { generator });
    return merged.notes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#base.checkpoint.close();
  }

  /** Decides what happens to each tensor, and refuses what has no place in the decoder. */
  async #open(choices: readonly AdapterChoice[], options: ApplyOptions): Promise<MergedCheckpoint> {
    await using resources = new AsyncDisposableStack();
    const merged = resources.use(await MergedCheckpoint.open(this.#base, choices, options));
    const { tensors } = this.#decoder.weights;
    const isForeign = (name: string) => !tensors.has(name) && !(merged.plan.untied && name === UNTIED_HEAD);
    const foreign = merged.changes.find(({ name }) => this.#isUsed(name) && isForeign(name));
    if (foreign !== undefined) {
      const paths = choices.map(({ path }) => oneLine(path)).join(", ");
      const isInFile = this.#base.checkpoint.tensors.has(foreign.name);
      const [why, hint] = isInFile
        ? ["which no adapter changes in memory", "merge it (randlora merge), and name the merged model"]
        : ["which this model does not use", "the adapter was made for another model"];
      throw new RandloraError("adapter", `${paths}: it has a tensor ${quote(foreign.name)}, ${why}`, hint);
    }
    resources.move();
    return merged;
  }

  /** Is this tensor of the part that the decoder is? */
  #isUsed(name: string): boolean {
    return !isOfOtherPart(this.#decoder.config, name);
  }

  /**
   * Gives the decoder an embedding of its own where these adapters replace one that is quantized, and an output matrix where they
   * set it apart from the embedding, or replace one that is quantized; and takes them away where they do not.
   * @returns the output matrix, where it is still to be filled with what the checkpoint has
   */
  #changeTables({ tensors, untied }: MergePlan, changes: readonly OutputTensor[]): OutputTensor[] {
    const { weights } = this.#decoder;
    weights.restoreTables();
    const head = tensors.find(({ name }) => name === UNTIED_HEAD);
    const isChanged = head !== undefined && changes.includes(head);
    const embedding = changes.find(({ name }) => weights.tensors.get(name)?.buffer === weights.embedding.buffer);
    if (embedding !== undefined && isBlockDtype(weights.embedding.dtype)) {
      weights.changeEmbedding(isKernelDtype(embedding.dtype) ? embedding.dtype : "F32", untied);
      if (untied && !isChanged) return [];
    }
    if (!untied && !(isChanged && isBlockDtype(weights.head.dtype))) return [];
    if (head === undefined) throw new Error("untied without an output matrix");
    weights.changeHead(isKernelDtype(head.dtype) ? head.dtype : "F32");
    return isChanged ? [] : [head];
  }

  /** What fills a tensor's place in memory. */
  #writerOf({ name, dtype }: OutputTensor): TensorWriter {
    const { tensors, transposed } = this.#decoder.weights;
    const place = tensors.get(name);
    if (place === undefined || !isFloat(dtype)) throw new TypeError(`${name}: ${dtype}`);
    return new TensorWriter(this.#gpu, place, dtype, transposed.get(name));
  }
}

/**
 * Replaces what a matrix (or a view of rows) in GPU memory holds by a stream of bytes as a checkpoint stores them:
 * row-major, without gaps. Where the matrix is held in F32, other dtypes are widened, which changes no value.
 */
export class TensorWriter {
  readonly #gpu: Device;
  readonly #tensor: Tensor;
  readonly #dtype: FloatDtype;
  /** Bytes of the whole, where the checkpoint stores it transposed. */
  readonly #whole: Uint8Array<ArrayBuffer> | undefined;
  readonly #transposed: readonly number[] | undefined;
  #filled = 0;
  #row = 0;
  #rest = new Uint8Array();

  /**
   * @param dtype of the bytes that come
   * @param transposed the shape of it in a checkpoint that has columns for rows: all is kept until `finish`
   */
  constructor(gpu: Device, tensor: Tensor, dtype: FloatDtype, transposed?: readonly number[]) {
    if (dtype !== tensor.dtype && tensor.dtype !== "F32") throw new TypeError(`${dtype} into ${tensor.dtype}`);
    this.#gpu = gpu;
    this.#tensor = tensor;
    this.#dtype = dtype;
    const [rows, cols] = tensor.shape;
    this.#whole = transposed && new Uint8Array(rows * cols * dtypeBytes(dtype));
    this.#transposed = transposed;
  }

  /** Writes as many whole rows as there are now; the bytes are copied. */
  append(bytes: Uint8Array): void {
    if (this.#whole === undefined) return this.#append(bytes);
    this.#whole.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  #append(bytes: Uint8Array): void {
    const [, cols] = this.#tensor.shape;
    const rowBytes = cols * dtypeBytes(this.#dtype);
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const rows = Math.floor(all.length / rowBytes);
    this.#rest = all.slice(rows * rowBytes);
    if (rows > 0) this.#write(all.subarray(0, rows * rowBytes), rows);
  }

  /** @throws RangeError when rows are missing, or a part of one is left over */
  finish(): void {
    const [rows] = this.#tensor.shape;
    if (this.#whole !== undefined && this.#filled === this.#whole.length) {
      const [each = NaN, cols = NaN] = this.#transposed?.slice(-2) ?? [];
      this.#append(transpose(this.#whole, each, cols, dtypeBytes(this.#dtype)));
    }
    if (this.#row !== rows || this.#rest.length > 0) throw new RangeError(`${this.#row} of ${rows} rows were written`);
  }

  #write(bytes: Uint8Array<ArrayBuffer>, rows: number): void {
    const { shape, pitch, offset, dtype, buffer } = this.#tensor;
    const [most, cols] = shape;
    if (this.#row + rows > most) throw new RangeError(`more than ${most} rows`);
    let values = bytes;
    if (dtype !== this.#dtype) {
      const wide = new Float32Array(rows * cols);
      widenToF32(bytes, this.#dtype, wide);
      values = new Uint8Array(wide.buffer);
    }
    const size = elementBytes(dtype);
    // A single row may be a part of a joined vector: what is behind it is not its own.
    const packed = most === 1 ? values : repitched(values, rows, cols * size, pitch * size);
    this.#gpu.write(buffer, packed, (offset + this.#row * pitch) * size);
    this.#row += rows;
  }
}
