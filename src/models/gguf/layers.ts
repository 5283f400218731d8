import type { GgufFields } from "../../files/gguf/metadata.ts";
import { type DecoderConfig, keysOf } from "../decoder/config.ts";
import { MOST_LAYERS } from "../decoder/config-file.ts";

/**
 * How many layers a file has, and how many of them are the model's own: those behind them predict several tokens at once, which
 * llama.cpp leaves aside.
 */
export function layersIn(fields: GgufFields, arch: string): { readonly all: number; readonly own: number } {
  const all = fields.need(fields.number(`${arch}.block_count`), `${arch}.block_count`);
  const ahead = fields.number(`${arch}.nextn_predict_layers`) ?? 0;
  if (ahead === 0 || (Number.isInteger(ahead) && ahead > 0 && ahead < all)) return { all, own: all - ahead };
  return fields.refuse(`${ahead} of ${all} layers predict several tokens at once`, "download it again");
}

/** A number for each of the model's own layers, where a list says one for each in the file; more of them would fill the memory. */
export function ofLayers(
  fields: GgufFields,
  arch: string,
  key: string,
  values: ArrayLike<number | boolean> | undefined,
): readonly number[] {
  const name = `${arch}.${key}`;
  const { all, own } = layersIn(fields, arch);
  const found = fields.need(values, name);
  if (found.length === all && found.length <= MOST_LAYERS) return Array.from(found, Number).slice(0, own);
  return fields.refuse(`${name} is of ${found.length} layers, of which there are ${all}`, "download it again");
}

/** Is this a tensor that llama.cpp reads and does nothing with: of layers behind the model's own, and keys and values of layers that take another one's? */
export function isPassedOver(name: string, { layers }: DecoderConfig, all: number): boolean {
  const [, number = "", module = ""] = /^blk\.(\d+)\.(\w+)\./.exec(name) ?? [];
  const layer = layers[Number(number)];
  if (number === "" || layer === undefined) return number !== "" && Number(number) < all;
  return keysOf(layer) !== undefined && ["attn_k", "attn_v", "attn_k_norm"].includes(module);
}

/** The decimal number of the fewest digits that is this one in f32: 1e-5, not 9.99999974737875e-6. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
