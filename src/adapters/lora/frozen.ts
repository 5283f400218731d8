import type { Device } from "../../compute/device/device.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn, write } from "../../compute/tensor/tensor.ts";
import { memoryTensor } from "../files/tensors.ts";
import type { Addend, Placement, Trainable } from "../training/method.ts";
import type { AdapterTensor } from "../adapter.ts";
import type { LoraSource } from "./train/source.ts";
import { type LoraMode, type PlacedFactors, withFactors } from "./train/trained.ts";

/**
 * A LoRA that has its part in each pass and stays what it is: its factors are no parameters, so that no optimizer touches
 * them, and are written as the adapter's file holds them, byte for byte.
 * @throws RandloraError `file`; TypeError for a new one, which would add nothing for ever
 */
export async function frozenLora(source: LoraSource, mode: LoraMode): Promise<Trainable<Addend>> {
  const { modules } = source;
  const tensors: AdapterTensor[] = [];
  for (const { name, stored } of modules) {
    if (stored === undefined) throw new TypeError(`${name}: new factors cannot be frozen`);
    // The file may be gone when they are written.
    for (const { name: own, dtype, shape, readAll } of [stored.a, stored.b]) {
      tensors.push(memoryTensor(own, dtype, shape, await readAll()));
    }
  }
  return {
    parameters: [],
    modules: modules.map(({ name, out, in: input }) => ({ name, shape: [out, input], parameters: 0 })),
    notes: [],
    place: async (on) => place(on, source, mode, tensors),
  };
}

function place(
  { gpu, tensors, factor = 1 }: Placement,
  { modules: given, config }: LoraSource,
  mode: LoraMode,
  stored: readonly AdapterTensor[],
): Addend {
  const modules = given.map((module) => ({ ...module, scale: module.scale * factor }));
  const factors = modules.map(({ name, out, in: input, rank, values }): PlacedFactors => {
    if (values === undefined) throw new TypeError(`${name}: no factors`);
    const a = placed(gpu, `${name}: A`, [rank, input], values.a);
    return { a, b: placed(gpu, `${name}: B`, [out, rank], values.b) };
  });
  return {
    ...withFactors(tensors, modules, factors, mode),
    watched: () => [],
    content: async () => ({ config, bases: undefined, tensors: stored, metadata: new Map() }),
  };
}

function placed(gpu: Device, label: string, shape: Shape, values: Float32Array<ArrayBuffer>): Tensor {
  const tensor = tensorIn(gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
  write(gpu, tensor, values);
  return tensor;
}
