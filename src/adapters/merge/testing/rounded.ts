import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fitsBlocks, fromBlocks, toBlocks } from "../../../compute/device/blocks.ts";
import type { RoundedDtype } from "../../../compute/device/dtype.ts";
import { readModel, rounded, widened, writeModel } from "./models.ts";

/** The weights of a language model's layers. */
const OF_LAYERS = /\.layers\.\d+\..*_proj\.weight$/;

/** A language model's embedding and output matrix. */
const TABLES = /^(model\.embed_tokens|lm_head)\.weight$/;

/**
 * Writes a model in F32 whose layers' weights are what their blocks stand for, where their rows are whole ones, and whose
 * tables are what those of Q8_0 do.
 */
export async function writeRounded(
  from: string,
  to: string,
  dtype: RoundedDtype,
  weights = OF_LAYERS,
): Promise<string> {
  const tensors = Object.entries(await readModel(from)).map(([name, tensor]) => {
    const values = Float32Array.from(widened(tensor));
    const format = TABLES.test(name) ? "Q8_0" : weights.test(name) ? dtype : undefined;
    const isRounded = format !== undefined && fitsBlocks(tensor.shape[1] ?? 0);
    const kept = isRounded ? fromBlocks(toBlocks(values, format), format) : values;
    return [name, { ...tensor, dtype: "F32" as const, data: rounded(Float64Array.from(kept), "F32") }] as const;
  });
  await cp(from, to, { recursive: true });
  const config = await Bun.file(join(from, "config.json")).json();
  return await writeModel(to, { tensors: Object.fromEntries(tensors), config });
}
