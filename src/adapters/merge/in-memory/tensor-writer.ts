import type { Device } from "../../../compute/device/device.ts";
import { dtypeBytes, type FloatDtype } from "../../../files/safetensors/dtype.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { elementBytes, type Tensor } from "../../../compute/tensor/tensor.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";

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
