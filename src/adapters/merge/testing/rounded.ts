import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fitsBlocks, fromBlocks, toBlocks } from "../../../compute/device/blocks.ts";
import type { BlockDtype } from "../../../compute/device/dtype.ts";
import { readModel, rounded, widened, writeModel } from "./models.ts";

/** The weights of a language model's layers. */
const OF_LAYERS = /\.layers\.\d+\..*_proj\.weight$/;

/** Writes a model in F32 whose layers' weights are what their blocks stand for, where their rows are whole ones. */
export async function writeRounded(from: string, to: string, dtype: BlockDtype, weights = OF_LAYERS): Promise<string> {
  const tensors = Object.entries(await readModel(from)).map(([name, tensor]) => {
    const values = Float32Array.from(widened(tensor));
    const isLinear = weights.test(name) && fitsBlocks(tensor.shape[1] ?? 0);
    const kept = isLinear ? fromBlocks(toBlocks(values, dtype), dtype) : values;
    return [name, { ...tensor, dtype: "F32" as const, data: rounded(Float64Array.from(kept), "F32") }] as const;
  });
  await cp(from, to, { recursive: true });
  const config = await Bun.file(join(from, "config.json")).json();
  return await writeModel(to, { tensors: Object.fromEntries(tensors), config });
}
