import type { Device } from "../../compute/device/device.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn, write } from "../../compute/tensor/tensor.ts";
import type { AdapterTensor } from "../files/adapter.ts";
import { lowRankMethod, type LowRankMode, type TrainedFactors } from "../delta/low-rank/linears.ts";
import { memoryTensor } from "../files/tensors.ts";
import { readAllValues } from "../files/values.ts";
import { trainedModuleRows } from "../method/train.ts";
import type { Addend, Trainable } from "../method/training.ts";
import type { LoraPlan } from "./plan.ts";

/**
 * A LoRA that has its part in each pass and stays what it is: its factors are no parameters, so that no optimizer touches
 * them, and are written as the adapter's file holds them, byte for byte. @throws RandloraError `file`
 */
export async function frozenLora({ adapter, layers }: LoraPlan, mode: LowRankMode): Promise<Trainable<Addend>> {
  const stored: AdapterTensor[] = [];
  // The file may be gone when they are written.
  for (const { name, dtype, shape, readAll } of layers.flatMap(({ tensors: { a, b } }) => [a, b])) {
    stored.push(memoryTensor(name, dtype, shape, await readAll()));
  }
  return {
    parameters: [],
    modules: trainedModuleRows(layers, () => 0),
    notes: [],
    async place({ gpu, tensors: weights, factor = 1 }) {
      const factors: Pick<TrainedFactors, "a" | "b">[] = [];
      for (const { module, out, in: input, rank, tensors } of layers) {
        const { a, b } = await readAllValues(adapter, tensors);
        factors.push({
          a: placed(gpu, `${module}: A`, [rank, input], a),
          b: placed(gpu, `${module}: B`, [out, rank], b),
        });
      }
      const scaled = layers.map((layer) => ({ ...layer, scale: layer.scale * factor }));
      return {
        ...lowRankMethod(weights, scaled, factors, mode),
        watched: () => [],
        content: async () => ({
          config: { ...adapter.config, inference_mode: true, lora_dropout: mode.dropout },
          bases: undefined,
          tensors: stored,
          metadata: new Map(),
        }),
      };
    },
  };
}

function placed(gpu: Device, label: string, shape: Shape, values: Float32Array<ArrayBuffer>): Tensor {
  const tensor = tensorIn(gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
  write(gpu, tensor, values);
  return tensor;
}
