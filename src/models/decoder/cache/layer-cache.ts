import type { DeviceLimits, DeviceMemory } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { type DecoderConfig, kvWidth } from "../config.ts";

/** One layer's keys and values, (rows, kv heads · head size) each. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Bytes of keys and values of so many positions, of all layers. */
export function kvBytes(config: DecoderConfig, positions: number, dtype: KvDtype): number {
  return 2 * config.layers.length * tensorBytes([positions, kvWidth(config)], dtype);
}

/** Rows whose matrix a device binds as a whole. */
export function mostRows({ maxBindingSize, maxBufferSize }: DeviceLimits, width: number, dtype: KvDtype): number {
  return Math.floor(Math.min(maxBindingSize, maxBufferSize) / tensorBytes([1, width], dtype));
}

/**
 * Room for so many rows; what is in it is undefined.
 * @throws RandloraError `memory`, where the device says so at once
 */
export function allocateLayer(memory: DeviceMemory, rows: number, width: number, dtype: KvDtype): LayerCache {
  const shape = [rows, width] as const;
  const [keys, values] = memory.allocateTogether(["keys", "values"], tensorBytes(shape, dtype));
  return { keys: tensorIn(keys, shape, dtype), values: tensorIn(values, shape, dtype) };
}

/** Gives both matrices back. */
export function releaseLayer(memory: DeviceMemory, { keys, values }: LayerCache): void {
  memory.release(keys.buffer);
  memory.release(values.buffer);
}
