import { BLOCK, fitsBlocks, q8RowBytes, quantBytes, scaleBytes } from "./blocks.ts";
import type { DeviceBuffer } from "./buffer.ts";
import { isBlockDtype, type KvDtype, type StoredDtype } from "./dtype.ts";

/** Rows and columns. A vector has one row. */
export type Shape = readonly [rows: number, cols: number];

/** Element types on a device: numbers as checkpoints store them, keys and values, and token ids. */
export type TensorDtype = StoredDtype | KvDtype | "U32";

/**
 * A matrix in the memory of a device, row-major, or a view of some rows or columns of one. Activations are F32; weights keep the
 * dtype of their checkpoint.
 *
 * A row begins `pitch` elements after the one before: whole 16 bytes, so that kernels load vectors. What is between
 * `cols` and `pitch` in a matrix of its own is zero: every op keeps it so, and sums may run over it. Matrices in blocks
 * have no padding, and rows of keys and values their scales there (blocks.ts).
 */
export interface Tensor {
  readonly shape: Shape;
  readonly dtype: TensorDtype;
  readonly buffer: DeviceBuffer;
  /** Elements before the first one; a multiple of those in 16 bytes. */
  readonly offset: number;
  /** Elements from row to row. */
  readonly pitch: number;
  /** Where elements are in blocks: bytes before the scale of the buffer's first block. */
  readonly scalesAt?: number;
}

/** A tensor, or rows of a ternary basis as they are stored. */
export type Matrix = Omit<Tensor, "dtype"> & { readonly dtype: TensorDtype | "TERNARY" };

/** Bytes of one element; in blocks without its part of the scale. */
export function elementBytes(dtype: Matrix["dtype"]): number {
  if (dtype === "TERNARY") return 1 / 4;
  if (dtype === "Q8_ROWS") return 1;
  if (isBlockDtype(dtype)) return quantBytes(dtype) / BLOCK;
  return dtype === "F32" || dtype === "U32" ? 4 : 2;
}

/** Views begin, and rows are, at multiples of so many elements: those in 16 bytes, and whole blocks. */
function wholeElements(dtype: Matrix["dtype"]): number {
  return isBlockDtype(dtype) ? BLOCK : 16 / elementBytes(dtype);
}

/** Elements from row to row of a matrix of its own: whole 16 bytes. */
export function pitchOf(cols: number, dtype: TensorDtype): number {
  if (dtype === "Q8_ROWS") return q8RowBytes(cols);
  const whole = wholeElements(dtype);
  return Math.ceil(cols / whole) * whole;
}

/** Bytes that a matrix of its own takes, without the scales of blocks. */
function elementsBytes([rows, cols]: Shape, dtype: TensorDtype): number {
  return rows * pitchOf(cols, dtype) * elementBytes(dtype);
}

/** Bytes that a matrix of its own takes. */
export function tensorBytes(shape: Shape, dtype: TensorDtype): number {
  const elements = elementsBytes(shape, dtype);
  return isBlockDtype(dtype)
    ? elements + ((shape[0] * pitchOf(shape[1], dtype)) / BLOCK) * scaleBytes(dtype)
    : elements;
}

/** A matrix of its own in a buffer of at least `tensorBytes`. @throws RangeError for parts of a block */
export function tensorIn(buffer: DeviceBuffer, shape: Shape, dtype: TensorDtype): Tensor {
  const tensor = { shape, dtype, buffer, offset: 0, pitch: pitchOf(shape[1], dtype) };
  if (!isBlockDtype(dtype)) return tensor;
  if (!fitsBlocks(shape[1])) throw new RangeError(`${buffer.label}: rows of ${shape[1]} are no whole blocks`);
  return { ...tensor, scalesAt: elementsBytes(shape, dtype) };
}

/** The same rows as words of 32 bits, whose padding counts: to be copied, whatever they hold. */
export function asWords({ shape, dtype, buffer, offset, pitch }: Tensor): Tensor {
  const words = (elements: number) => (elements * elementBytes(dtype)) / 4;
  return { shape: [shape[0], words(pitch)], dtype: "F32", buffer, offset: words(offset), pitch: words(pitch) };
}

/** A view of rows `first` … `first + count − 1`. */
export function sliceRows<M extends Matrix>(tensor: M, first: number, count: number): M {
  const [rows, cols] = tensor.shape;
  checkRange("rows", first, count, rows);
  return { ...tensor, shape: [count, cols], offset: tensor.offset + first * tensor.pitch };
}

/** A view of columns `first` … `first + count − 1`, both multiples of the elements in 16 bytes, or of whole blocks. */
export function sliceCols<M extends Matrix>(tensor: M, first: number, count: number): M {
  const [rows, cols] = tensor.shape;
  checkRange("columns", first, count, cols);
  const whole = wholeElements(tensor.dtype);
  if (first % whole !== 0 || (count % whole !== 0 && first + count !== cols)) {
    throw new RangeError(`columns ${first} to ${first + count}: a view begins and ends at multiples of ${whole}`);
  }
  return { ...tensor, shape: [rows, count], offset: tensor.offset + first };
}

/** The same of as many columns as a part of a product has, of which zeros make a multiple. */
export function partCols<M extends Matrix>(tensor: M, first: number, count: number): M {
  const [rows, cols] = tensor.shape;
  const whole = wholeElements(tensor.dtype);
  return {
    ...sliceCols(tensor, first, Math.min(cols - first, Math.ceil(count / whole) * whole)),
    shape: [rows, count],
  };
}

function checkRange(what: string, first: number, count: number, size: number): void {
  if (first < 0 || count < 0 || first + count > size) {
    throw new RangeError(`${what} ${first} to ${first + count} of ${size}`);
  }
}

/** `rows×cols`, for messages. */
export function showShape([rows, cols]: Shape): string {
  return `${rows}×${cols}`;
}
