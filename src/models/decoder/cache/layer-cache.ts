import type { DeviceMemory } from "../../../compute/device/device.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";

/** One layer's keys and values, (rows, kv heads · head size) each, in F32. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Room for so many rows; what is in it is undefined.
 * @throws RandloraError `memory`, where the device says so at once
 */
export function allocateLayer(memory: DeviceMemory, rows: number, width: number): LayerCache {
  const shape = [rows, width] as const;
  const [keys, values] = memory.allocateTogether(["keys", "values"], tensorBytes(shape, "F32"));
  return { keys: tensorIn(keys, shape, "F32"), values: tensorIn(values, shape, "F32") };
}

/** Gives both matrices back. */
export function releaseLayer(memory: DeviceMemory, { keys, values }: LayerCache): void {
  memory.release(keys.buffer);
  memory.release(values.buffer);
}
