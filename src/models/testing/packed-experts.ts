// A gpt-oss whose experts are in MXFP4, as it is published.
import { join } from "node:path";
import { fileBytes, tensorEntry } from "../../files/safetensors/testing/files.ts";
import { plannedMatrices } from "../decoder/weight-plan.ts";
import { elements } from "../tensor-plan.ts";
import { writeArchitecture } from "./architectures.ts";

/** What its config.json says beside the model's own settings. */
const PACKED = { quantization_config: { quant_method: "mxfp4", modules_to_not_convert: ["lm_head"] } };

/** Writes such a model; its other weights are those that `writeArchitecture` makes up. @param settings as there */
export async function writePackedExperts(folder: string, layers: number, settings: object = {}): Promise<void> {
  const config = await writeArchitecture(folder, "gpt_oss", layers, { ...settings, ...PACKED });
  const header: Record<string, object> = {};
  const pieces: Uint8Array[] = [];
  let end = 0;
  const add = (name: string, dtype: "F32" | "U8", shape: readonly number[], value: (at: number) => number) => {
    const values = Array.from({ length: elements(shape) }, (_, at) => value(at));
    const bytes = dtype === "U8" ? Uint8Array.from(values) : new Uint8Array(Float32Array.from(values).buffer);
    header[name] = tensorEntry(dtype, shape, end, (end += bytes.length));
    pieces.push(bytes);
  };
  for (const { transposed, parts } of plannedMatrices(config)) {
    for (const { name, stored } of parts) {
      const [experts = 0, inner = 0, out = 0] = stored;
      const shape = [experts, out, inner / 32];
      if (transposed === true) {
        add(`${name}_blocks`, "U8", [...shape, 16], (at) => at * 89 + (at >> 4));
        add(`${name}_scales`, "U8", shape, (at) => 122 + (at % 3));
      } else add(name, "F32", stored, (at) => Math.sin(at * 1.7));
    }
  }
  await Bun.write(join(folder, "model.safetensors"), fileBytes(header, Buffer.concat(pieces)));
}
