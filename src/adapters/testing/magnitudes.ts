import { f32, type TestTensor, writeFolder } from "./adapters.ts";
import { itemAt } from "../../files/item-at.ts";
import { loraTensors, type TestLora } from "./lora.ts";
import type { JsonObject } from "../../files/lossless-json.ts";

/** The magnitude of a module of so many outputs: numbers about 1 that differ by module. */
export function magnitudeOf(module: string, out: number): Float64Array {
  const salt = [...module].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  return Float64Array.from({ length: out }, (_, row) => Math.fround(1 + 0.4 * Math.sin(row * 3.7 + salt)));
}

/** Magnitudes of modules (out, in) under PEFT's names. */
export function magnitudeTensors(
  modules: Readonly<Record<string, readonly [out: number, input: number]>>,
  name: string,
): Record<string, TestTensor> {
  return Object.fromEntries(
    Object.entries(modules).map(([module, [out]]) => [
      `base_model.model.${module}.${name}`,
      f32([out], magnitudeOf(module, out)),
    ]),
  );
}

/** What is different about a written DoRA; `config` and `tensors` as those of `writeLora`. */
export interface DoraChanges {
  readonly config?: JsonObject;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  /** A tensor that the file lacks. */
  readonly without?: string;
  /** What magnitudes are called. */
  readonly vector?: string;
}

/** Writes LoRA's factors with magnitudes as a PEFT folder. */
export async function writeDora(folder: string, lora: TestLora, more: DoraChanges = {}): Promise<string> {
  const { config: changes, tensors: others, without, vector = "lora_magnitude_vector" } = more;
  const { r, alpha, ranks = {}, modules } = lora;
  const config = { peft_type: "LORA", r, lora_alpha: alpha, rank_pattern: ranks, target_modules: Object.keys(modules) };
  const tensors = { ...loraTensors(lora), ...magnitudeTensors(modules, vector), ...others };
  const kept = Object.fromEntries(Object.entries(tensors).filter(([name]) => name !== without));
  return writeFolder(folder, { ...config, use_dora: true, ...changes }, kept);
}

/** m / ‖W + ΔW‖ · (onto + ΔW) of (out, in), in f64. */
export function rescaled(
  magnitude: ArrayLike<number>,
  w: ArrayLike<number>,
  delta: ArrayLike<number>,
  onto: ArrayLike<number> = w,
): Float64Array {
  const input = w.length / magnitude.length;
  const norms = Array.from({ length: magnitude.length }, (_, row) => {
    let squares = 0;
    for (let at = row * input; at < (row + 1) * input; at++) squares += (itemAt(w, at) + itemAt(delta, at)) ** 2;
    return Math.sqrt(squares);
  });
  return Float64Array.from({ length: w.length }, (_, at) => {
    const row = Math.floor(at / input);
    return (itemAt(magnitude, row) / itemAt(norms, row)) * (itemAt(onto, at) + itemAt(delta, at));
  });
}
