import { BLOCK, scaleBytes } from "../compute/device/blocks.ts";
import type { Device } from "../compute/device/device.ts";
import { type BlockDtype, isBlockDtype, type KernelDtype } from "../compute/device/dtype.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes, isFloat } from "../files/safetensors/dtype.ts";
import {
  elementBytes,
  type Shape,
  sliceCols,
  sliceRows,
  type Tensor,
  tensorBytes,
  tensorIn,
  write,
} from "../compute/tensor/tensor.ts";
import { weightDtype } from "../compute/device/weight.ts";
import { widenToF32 } from "../files/safetensors/numbers.ts";
import { type Placed, placeIn } from "./description.ts";
import { converted, readBlocks, withTransposed } from "./read-weights.ts";
import { matrixLabel, matrixShape, type PlannedMatrix, rowsTaken } from "./tensor-plan.ts";
import { weightFormat, type WeightOptions } from "./weight-format.ts";
import { repitched } from "../compute/tensor/repitch.ts";

/** Checkpoint bytes that are read at once. */
const BLOCK_BYTES = 8 * 2 ** 20;

/** Numbers that are read together of what is cut anywhere: whole blocks of any file. */
const WHOLE = 256;

/** The quantized weights. */
export interface Quantized {
  /** The format; of a GGUF file that mixes them both, joined by "and". */
  readonly dtype: string;
  /** Bytes in GPU memory, and those of the same tensors in the checkpoint. */
  readonly bytes: number;
  readonly stored: number;
}

interface PlacedMatrix {
  readonly planned: PlannedMatrix;
  readonly tensor: Tensor;
  /** The memory is the caller's. */
  readonly foreign: boolean;
  /** Values are rounded to this dtype, whatever the tensor could hold. */
  readonly rounded: KernelDtype | undefined;
}

/** A part of a matrix as `fill` reads it. */
interface PartToRead {
  /** Of the checkpoint's tensor. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** The element of the matrix's buffer where it begins. */
  readonly target: number;
  /** Those of the whole matrix, where it is quantized; they are written together, being no whole words a row. */
  readonly scales: Uint16Array<ArrayBuffer> | undefined;
}

/** Tensors of a checkpoint in GPU memory, of whichever model: matrices in the dtype of the checkpoint, vectors in F32. */
export class PlacedWeights {
  readonly #gpu: Device;
  readonly #checkpoint: TensorReader;
  readonly #options: WeightOptions;
  readonly #placed: PlacedMatrix[] = [];
  readonly #constants: { readonly tensor: Tensor; readonly values: Float32Array<ArrayBuffer> }[] = [];

  constructor(gpu: Device, checkpoint: TensorReader, options: WeightOptions) {
    this.#gpu = gpu;
    this.#checkpoint = checkpoint;
    this.#options = options;
  }

  /** Takes memory for a matrix, which the checkpoint has (`checkTensors`); `fill` reads it. @throws RandloraError `memory` */
  place(planned: PlannedMatrix): Tensor {
    const { place, dtype } = this.#options;
    const shape = matrixShape(planned);
    if (planned.constant !== undefined) {
      return this.placeValues("constants", shape, new Float32Array(shape[1]).fill(planned.constant));
    }
    const own = planned.spread === true ? undefined : place?.(matrixLabel(planned), shape);
    const tensor = own ?? allocate(this.#gpu, this.#checkpoint, planned, this.#options);
    const rounded = own === undefined && typeof dtype === "string" ? dtype : undefined;
    this.#placed.push({ planned, tensor, foreign: own !== undefined, rounded });
    return tensor;
  }

  /** The same for every matrix of a description, in the order of its fields. */
  placeAll<T>(description: T): Placed<T> {
    return placeIn(description, (planned) => this.place(planned));
  }

  /** Takes memory for a matrix in F32 that is in no checkpoint, and which `fill` writes. @throws RandloraError `memory` */
  placeValues(label: string, shape: Shape, values: Float32Array<ArrayBuffer>): Tensor {
    const tensor = tensorIn(this.#gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
    this.#constants.push({ tensor, values });
    return tensor;
  }

  /** Each tensor of the checkpoint that was placed, but for numbers: its name, and a view of the matrix that it is a part of. */
  get tensors(): [name: string, view: Tensor][] {
    return this.#placed.flatMap(views);
  }

  /** Bytes in GPU memory of what the checkpoint has. */
  get bytes(): number {
    return this.#placed.reduce((sum, { tensor }) => sum + tensor.buffer.size, 0);
  }

  /** The checkpoint's names of the matrices that projections multiply with: the weights of linear layers, and routers. */
  get projected(): ReadonlySet<string> {
    return this.#namesOf(({ kind }) => kind === "linear" || kind === "matrix");
  }

  /** The weights that the checkpoint stores transposed, by their names there: their shapes there. */
  get transposed(): ReadonlyMap<string, readonly number[]> {
    const wanted = this.#placed.filter(({ planned }) => planned.transposed === true);
    return new Map(wanted.flatMap(({ planned }) => planned.parts.map(({ name, stored }) => [name, stored])));
  }

  /** The quantized weights; undefined: there are none. */
  get quantized(): Quantized | undefined {
    const placed = this.#placed.filter(({ tensor }) => isBlockDtype(tensor.dtype));
    if (placed.length === 0) return undefined;
    const infos = placed.flatMap(({ planned }) => planned.parts.map(({ name }) => this.#checkpoint.get(name).info));
    return {
      dtype: [...new Set(placed.map(({ tensor }) => tensor.dtype))].toSorted().join(" and "),
      bytes: placed.reduce((sum, { tensor }) => sum + tensor.buffer.size, 0),
      stored: infos.reduce((sum, { bytes, blocks }) => sum + (blocks?.bytes ?? bytes), 0),
    };
  }

  /**
   * Reads every tensor to the GPU, by ranges through one buffer.
   * @param onBytes told after each range how many bytes of the checkpoint it was
   * @throws RandloraError `file`; the signal's reason when it is aborted
   */
  async fill(onBytes: (bytes: number) => void = () => {}, signal?: AbortSignal): Promise<void> {
    for (const { tensor, values } of this.#constants) write(this.#gpu, tensor, values);
    const scratch = new Uint8Array(BLOCK_BYTES);
    for (const placed of this.#placed) {
      const { planned, tensor } = placed;
      if (tensor.shape[0] === 1 && tensor.pitch > tensor.shape[1]) clear(this.#gpu, tensor, 0, 1);
      if (planned.spread === true) {
        await this.#spread(placed, onBytes);
        continue;
      }
      const scales = isBlockDtype(tensor.dtype)
        ? new Uint16Array(scaleWords(tensor.dtype, tensor.shape[0] * tensor.pitch))
        : undefined;
      let begin = 0;
      for (const part of planned.parts) {
        const { name, rows } = part;
        const [count, cols] = planned.kind === "vector" ? [1, rows] : [rows, planned.cols];
        const target = planned.kind === "vector" ? tensor.offset + begin : tensor.offset + begin * tensor.pitch;
        await this.#read({ name, rows: count, cols, target, scales }, placed, scratch, onBytes, signal);
        const taken = rowsTaken(planned, part);
        if (taken > rows) clear(this.#gpu, tensor, begin + rows, taken - rows);
        begin += taken;
      }
      if (scales !== undefined) this.#gpu.write(tensor.buffer, scales, tensor.scalesAt);
    }
    await this.#gpu.idle();
  }

  release(): void {
    for (const { tensor, foreign } of this.#placed) if (!foreign) this.#gpu.memory.release(tensor.buffer);
    for (const { tensor } of this.#constants) this.#gpu.memory.release(tensor.buffer);
  }

  #namesOf(isWanted: (planned: PlannedMatrix) => boolean): ReadonlySet<string> {
    const wanted = this.#placed.filter(({ planned }) => isWanted(planned));
    return new Set(wanted.flatMap(({ planned }) => planned.parts.map(({ name }) => name)));
  }

  /** Reads one number, which goes to all columns. */
  async #spread({ planned, tensor }: PlacedMatrix, onBytes: (bytes: number) => void): Promise<void> {
    for (const { name } of planned.parts) {
      const { dtype } = this.#checkpoint.get(name).info;
      if (!isFloat(dtype)) throw new Error(`${name}: ${dtype} was let through`);
      const source = new Uint8Array(dtypeBytes(dtype));
      await this.#checkpoint.read(name, source, 0);
      onBytes(source.length);
      const number = new Float32Array(1);
      widenToF32(source, dtype, number);
      write(this.#gpu, tensor, new Float32Array(tensor.shape[1]).fill(number[0] ?? NaN));
    }
  }

  async #read(
    { name, rows, cols, target, scales }: PartToRead,
    { planned, tensor, rounded }: PlacedMatrix,
    scratch: Uint8Array<ArrayBuffer>,
    onBytes: (bytes: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { transposed = false } = planned;
    const checkpoint = transposed ? withTransposed(this.#checkpoint, name) : this.#checkpoint;
    const { dtype } = checkpoint.get(name).info;
    if (!isFloat(dtype)) throw new Error(`${name}: ${dtype} was let through`);
    const stored = dtypeBytes(dtype);
    const size = elementBytes(tensor.dtype);
    // Whole rows; a vector (or a row above the buffer) is cut anywhere, because nothing lies between its elements.
    const flat = rows === 1 || tensor.pitch === cols;
    const [lines, width] = flat ? [rows * cols, 1] : [rows, cols];
    const pitch = flat ? 1 : tensor.pitch;
    const most = Math.max(1, Math.floor(scratch.length / (width * Math.max(stored, size) * 2)));
    const step = flat ? Math.ceil(most / WHOLE) * WHOLE : most;
    for (let line = 0; line < lines; line += step) {
      signal?.throwIfAborted();
      const count = Math.min(step, lines - line);
      if (isBlockDtype(tensor.dtype)) {
        const blocks = await readBlocks(checkpoint, name, tensor.dtype, line, count);
        onBytes(count * stored);
        this.#gpu.write(tensor.buffer, blocks.quants, (target + line) * size);
        scales?.set(blocks.scales, scaleWords(tensor.dtype, target + line));
        continue;
      }
      const source = new Uint8Array(count * width * stored);
      await checkpoint.read(name, source, line * width * stored);
      onBytes(source.length);
      const grid = rounded ?? weightDtype("weights", tensor);
      const asIs = dtype === tensor.dtype && dtype === grid;
      const values = asIs ? source : converted(source, dtype, grid, tensor, count * width);
      const packed = repitched(values, count, width * size, pitch * size);
      this.#gpu.write(tensor.buffer, packed, (target + line * pitch) * size);
    }
  }
}

/** Words of 16 bits of the scales of so many numbers. */
function scaleWords(dtype: BlockDtype, count: number): number {
  return (count / BLOCK) * (scaleBytes(dtype) / 2);
}

/** Rows that no part is read to: used memory may hold anything. */
function clear(gpu: Device, { buffer, offset, pitch, dtype }: Tensor, first: number, rows: number): void {
  const size = pitch * elementBytes(dtype);
  gpu.write(buffer, new Uint8Array(rows * size), offset * elementBytes(dtype) + first * size);
}

function allocate(gpu: Device, checkpoint: TensorReader, planned: PlannedMatrix, options: WeightOptions): Tensor {
  const shape = matrixShape(planned);
  const dtype = weightFormat(checkpoint, planned, options);
  return tensorIn(gpu.memory.allocate(matrixLabel(planned), tensorBytes(shape, dtype)), shape, dtype);
}

/** A matrix's parts by their names in the checkpoint. */
function views({ planned, tensor }: PlacedMatrix): [string, Tensor][] {
  if (planned.spread === true) return [];
  let begin = 0;
  return planned.parts.map((part): [string, Tensor] => {
    const { name, rows } = part;
    const view = planned.kind === "vector" ? vectorView(tensor, begin, rows) : sliceRows(tensor, begin, rows);
    begin += rowsTaken(planned, part);
    return [name, view];
  });
}

/** A part of a vector; parts of joined biases may begin or end between vectors of 4: they are looked at element by element. */
function vectorView(tensor: Tensor, begin: number, size: number): Tensor {
  const end = begin + size;
  return begin % 4 === 0 && (end % 4 === 0 || end === tensor.shape[1])
    ? sliceCols(tensor, begin, size)
    : { ...tensor, shape: [1, size], offset: tensor.offset + begin };
}
