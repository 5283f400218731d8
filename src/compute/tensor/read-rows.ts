import type { Device } from "../device/device.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Reads rows of an F32 matrix, or of a view of one, after everything submitted so far has run: count · cols numbers,
 * without gaps. @throws RandloraError `gpu`
 */
export async function readRows(
  gpu: Device,
  tensor: Tensor,
  first: number,
  count: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { buffer, offset, pitch, shape } = tensor;
  const cols = shape[1];
  // A view's last row ends where the view does.
  const size = ((count - 1) * pitch + cols) * 4;
  return gpu.readWith([{ buffer, offset: (offset + first * pitch) * 4, size }], async ([bytes]) => {
    const padded = new Float32Array(bytes?.slice().buffer ?? new ArrayBuffer(0));
    if (pitch === cols || count === 1) return padded;
    const numbers = new Float32Array(count * cols);
    for (let row = 0; row < count; row++) numbers.set(padded.subarray(row * pitch, row * pitch + cols), row * cols);
    return numbers;
  });
}
