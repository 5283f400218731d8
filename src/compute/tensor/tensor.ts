import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";

export * from "../device/tensor.ts";

/** Fills a matrix of its own with values, row by row without gaps: before whatever is submitted from now on. */
export function write(
  device: Device,
  { shape: [rows, cols], buffer, pitch }: Tensor,
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
): void {
  let padded = data;
  if (pitch !== cols) {
    padded = data instanceof Float32Array ? new Float32Array(rows * pitch) : new Uint32Array(rows * pitch);
    for (let row = 0; row < rows; row++) padded.set(data.subarray(row * cols, (row + 1) * cols), row * pitch);
  }
  device.write(buffer, padded);
}
