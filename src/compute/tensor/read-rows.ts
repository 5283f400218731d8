import { itemAt } from "../../files/item-at.ts";
import type { Device } from "../device/device.ts";
import { sliceRows, type Tensor } from "./tensor.ts";

/**
 * Reads matrices of 32-bit elements, or views of them, after everything submitted so far has run.
 * @returns of each its elements without gaps; of others than U32 the bits
 * @throws RandloraError `gpu`, `memory`
 */
export async function readMatrices(device: Device, tensors: readonly Tensor[]): Promise<Uint32Array<ArrayBuffer>[]> {
  const ranges = tensors.map(({ buffer, offset, pitch, shape: [rows, cols] }) => {
    // A view's last row ends where the view does.
    return { buffer, offset: offset * 4, size: ((rows - 1) * pitch + cols) * 4 };
  });
  return await device.readWith(ranges, async (parts) =>
    tensors.map(({ pitch, shape: [rows, cols] }, at) => {
      const padded = new Uint32Array(itemAt(parts, at).slice().buffer);
      if (pitch === cols || rows === 1) return padded;
      const numbers = new Uint32Array(rows * cols);
      for (let row = 0; row < rows; row++) numbers.set(padded.subarray(row * pitch, row * pitch + cols), row * cols);
      return numbers;
    }),
  );
}

/** The same of some rows of an F32 matrix: count · cols numbers. */
export async function readRows(
  device: Device,
  tensor: Tensor,
  first: number,
  count: number,
): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array(itemAt(await readMatrices(device, [sliceRows(tensor, first, count)]), 0).buffer);
}
