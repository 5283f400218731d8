import type { DeltaSample } from "../bilinear/delta-block.ts";
import type { AdapterPlan } from "../plan.ts";
import type { Adapter } from "../types.ts";
import { readValues } from "../values.ts";
import { LoraDeltas } from "./delta.ts";
import type { LoraLayer } from "./layers.ts";
import type { LoraPlan } from "./plan.ts";

/** A LoRA adapter among those of other methods. */
export function loraAdapterPlan({ adapter, layers, replacements }: LoraPlan, notes: readonly string[]): AdapterPlan {
  return {
    adapter,
    layers,
    replacements,
    notes,
    bases: "none",
    // PEFT's lora/layer.py, merge: ΔW is added in f32 as it is, whatever the weight's dtype.
    roundsDelta: false,
    load: async () => ({
      upload: (gpu) => LoraDeltas.create(gpu, adapter, layers),
      reference: (index, factor, sample) => loraReference(adapter, layers[index], factor, sample),
    }),
  };
}

/** factor · scale · B·A (out, in) in f64 by the plain sum over r terms, at a sample of its elements, row-major. */
export async function loraReference(
  adapter: Adapter,
  layer: LoraLayer | undefined,
  factor: number,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  if (layer === undefined) throw new RangeError("no such layer");
  const { a, b, rank, scale, in: input } = layer;
  const right = await readValues(adapter, a);
  const delta = new Float64Array(rows.length * cols.length);
  for (const [i, row] of rows.entries()) {
    const left = await readValues(adapter, b, row * rank, rank);
    for (const [j, col] of cols.entries()) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += (left[k] ?? NaN) * (right[k * input + col] ?? NaN);
      delta[i * cols.length + j] = scale * factor * sum;
    }
  }
  return delta;
}
