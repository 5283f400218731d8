import { fromBlocks, toBlocks } from "../../device/blocks.ts";
import type { Device } from "../../device/device.ts";
import { read } from "../../device/transfer.ts";
import { isBlockDtype } from "../../device/dtype.ts";
import { roundFromF64, widenToF32 } from "../../../files/safetensors/numbers.ts";
import type { Of, Roles } from "../roles.ts";
import { elementBytes, pitchOf, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../tensor.ts";
import type { Operand } from "./case.ts";

/** The operand in GPU memory, rows padded with zeros. */
export function place(gpu: Device, { matrix, dtype }: Operand): Tensor {
  const [rows, cols] = matrix.shape;
  if (isBlockDtype(dtype)) {
    // What a case holds is what its blocks stand for: to round it again changes nothing.
    const { quants, scales } = toBlocks(Float32Array.from(matrix.data), dtype);
    const tensor = tensorIn(gpu.memory.allocate("operand", tensorBytes(matrix.shape, dtype)), matrix.shape, dtype);
    gpu.write(tensor.buffer, quants);
    gpu.write(tensor.buffer, scales, tensor.scalesAt);
    return tensor;
  }
  const pitch = pitchOf(cols, dtype);
  if (dtype === "Q8_ROWS") {
    const bytes = new Uint8Array(rows * pitch);
    for (let row = 0; row < rows; row++) {
      const { quants, scales } = toBlocks(
        Float32Array.from(matrix.data.subarray(row * cols, (row + 1) * cols)),
        "Q8_0",
      );
      bytes.set(quants, row * pitch);
      bytes.set(new Uint8Array(scales.buffer), row * pitch + cols);
    }
    const buffer = gpu.memory.allocate("operand", bytes.length);
    gpu.write(buffer, bytes);
    return tensorIn(buffer, matrix.shape, dtype);
  }
  const size = elementBytes(dtype);
  const padded = new Float64Array(rows * pitch);
  for (let row = 0; row < rows; row++) padded.set(matrix.data.subarray(row * cols, (row + 1) * cols), row * pitch);
  const bytes = new Uint8Array(padded.length * size);
  if (dtype === "U32") new Uint32Array(bytes.buffer).set(padded);
  else roundFromF64(padded, dtype, bytes);
  const buffer = gpu.memory.allocate("operand", bytes.length);
  gpu.write(buffer, bytes);
  return tensorIn(buffer, matrix.shape, dtype);
}

/** The values of a tensor that begins its buffer, without the padding, and whether all of that is zero. */
export async function take(gpu: Device, tensor: Tensor): Promise<{ values: Float64Array; paddedWithZeros: boolean }> {
  const [rows, cols] = tensor.shape;
  const bytes = await read(gpu, tensor.buffer);
  const all = tensor.dtype === "Q8_ROWS" ? numbersOfRows(bytes, tensor) : numbersOf(bytes, tensor.dtype);
  const values = new Float64Array(rows * cols);
  let paddedWithZeros = true;
  for (let row = 0; row < rows; row++) {
    values.set(all.subarray(row * tensor.pitch, row * tensor.pitch + cols), row * cols);
    const padding = all.subarray(row * tensor.pitch + cols, (row + 1) * tensor.pitch);
    paddedWithZeros &&= padding.every((value) => value === 0);
  }
  return { values, paddedWithZeros };
}

/** Rows of blocks as numbers, zeros in the place of the scales. */
function numbersOfRows(bytes: Uint8Array<ArrayBuffer>, { shape: [rows, cols], pitch }: Tensor): Float32Array {
  const numbers = new Float32Array(rows * pitch);
  for (let at = 0; at < rows * pitch; at += pitch) {
    const scales = new Uint16Array(bytes.slice(at + cols, at + cols + cols / 16).buffer);
    numbers.set(fromBlocks({ quants: bytes.slice(at, at + cols), scales }, "Q8_0"), at);
  }
  return numbers;
}

function numbersOf(bytes: Uint8Array<ArrayBuffer>, dtype: TensorDtype): Uint32Array | Float32Array {
  if (dtype === "U32") return new Uint32Array(bytes.buffer);
  if (dtype !== "F16" && dtype !== "BF16") return new Float32Array(bytes.buffer);
  const numbers = new Float32Array(bytes.length / 2);
  widenToF32(bytes, dtype, numbers);
  return numbers;
}

/** The operands that are there, by name. */
export function entries<R extends Roles, T>(record: { readonly [K in keyof R]?: T | undefined }): [string, T][] {
  return Object.entries<T | undefined>(record).filter((entry): entry is [string, T] => entry[1] !== undefined);
}

/** A function of every operand that is there. */
export function mapped<R extends Roles, T, U>(record: Of<R, T>, map: (value: T) => U): Of<R, U> {
  return Object.fromEntries(
    Object.entries<T | undefined>(record).map(([name, value]) => [name, value === undefined ? undefined : map(value)]),
  ) as Of<R, U>; // the same keys
}

/** The largest difference in units of the largest wanted value, at least `least`; NaN counts as infinite. */
export function relativeError(found: Float64Array, wanted: Float64Array, least = 1e-30): number {
  const largest = Math.max(least, largestOf(wanted));
  const worst = wanted.reduce((most, value, at) => {
    const difference = Math.abs((found[at] ?? NaN) - value);
    return Math.max(most, Number.isNaN(difference) ? Infinity : difference);
  }, 0);
  return worst / largest;
}

/** The largest absolute value. */
export function largestOf(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
