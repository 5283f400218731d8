import type { Device } from "../../compute/device/device.ts";
import type { BlocksName } from "../../compute/device/dtype.ts";
import { BLOCKS_NAMES, NAMED_BLOCKS } from "../../compute/device/dtype.ts";
import { megabytes } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { DecoderConfig } from "./config.ts";
import type { WeightOptions } from "../weight-format.ts";
import { DecoderWeights } from "./weights.ts";

/**
 * Refuses a model whose weights `--memory` leaves no room for, before one of them is read.
 * @throws RandloraError `memory`, with the format that they would fit in; what `DecoderWeights.allocate` throws
 */
export function refuseLargeWeights(
  gpu: Device,
  checkpoint: Checkpoint,
  config: DecoderConfig,
  options: WeightOptions,
): void {
  const { limit, liveBytes } = gpu.memory;
  if (limit === Infinity) return;
  const bytesOf = (more: WeightOptions): number => {
    const counting = gpu.counting();
    DecoderWeights.allocate(counting, checkpoint, config, { ...options, ...more });
    return counting.memory.liveBytes;
  };
  const bytes = bytesOf({});
  if (liveBytes + bytes <= limit) return;
  const fits = (name: BlocksName) => liveBytes + bytesOf({ quantize: NAMED_BLOCKS[name] }) <= limit;
  const name = options.quantize === undefined ? BLOCKS_NAMES.find(fits) : undefined;
  const smaller =
    name === undefined
      ? "choose a smaller model"
      : `give --quantize ${name}, which takes ${megabytes(bytesOf({ quantize: NAMED_BLOCKS[name] }))}`;
  const cause = `the weights take ${megabytes(bytes)}, and --memory allows ${megabytes(limit)}`;
  throw new RandloraError("memory", cause, `${smaller}, or raise --memory`);
}
