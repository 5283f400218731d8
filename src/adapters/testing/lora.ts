import { f32, type TestTensor, writeFolder } from "./adapters.ts";
import { itemAt } from "../../files/item-at.ts";
import type { JsonObject } from "../../files/lossless-json.ts";

/** A LoRA adapter of modules that are (out, in). */
export interface TestLora {
  readonly r: number;
  readonly alpha: number;
  readonly seed: number;
  readonly modules: Readonly<Record<string, readonly [out: number, input: number]>>;
  /** Ranks of single modules. */
  readonly ranks?: Readonly<Record<string, number>>;
  /** An element of A or B; numbers from −1 to 1 by default. */
  readonly number?: (index: number) => number;
}

const sine = (seed: number) => (index: number) => Math.sin(index * 12.9898 + seed * 7.3) * Math.cos(index * 0.37);

/** A (r, in) and B (out, r) of one module. */
export function factorsOf({ r, seed, modules, ranks = {}, number }: TestLora, module: string) {
  const index = Object.keys(modules).indexOf(module);
  const [out, input] = modules[module] ?? [0, 0];
  const rank = ranks[module] ?? r;
  const make = number ?? sine(seed * 100 + index);
  const a = Float32Array.from({ length: rank * input }, (_, at) => make(at));
  const b = Float32Array.from({ length: out * rank }, (_, at) => make(at + 1000) / 8);
  return { rank, out, in: input, a, b };
}

/** Its tensors under PEFT's names. */
export function loraTensors(lora: TestLora): Record<string, TestTensor> {
  const tensors: Record<string, TestTensor> = {};
  for (const module of Object.keys(lora.modules)) {
    const { rank, out, in: input, a, b } = factorsOf(lora, module);
    tensors[`base_model.model.${module}.lora_A.weight`] = f32([rank, input], a);
    tensors[`base_model.model.${module}.lora_B.weight`] = f32([out, rank], b);
  }
  return tensors;
}

/** Writes it as a PEFT folder; `config` and `tensors` are added to, or take the place of, its own. */
export async function writeLora(
  folder: string,
  lora: TestLora,
  more: { readonly config?: JsonObject; readonly tensors?: Readonly<Record<string, TestTensor>> } = {},
): Promise<string> {
  const { r, alpha, ranks = {}, modules } = lora;
  const config = { peft_type: "LORA", r, lora_alpha: alpha, rank_pattern: ranks, target_modules: Object.keys(modules) };
  return writeFolder(folder, { ...config, ...more.config }, { ...loraTensors(lora), ...more.tensors });
}

/** scale · B·A (out, in) of one module in f64; α/r by default. */
export function loraDelta(lora: TestLora, module: string, scale?: number): Float64Array {
  const { rank, out, in: input, a, b } = factorsOf(lora, module);
  return Float64Array.from({ length: out * input }, (_, at) => {
    const [row, col] = [Math.floor(at / input), at % input];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += itemAt(b, row * rank + k) * itemAt(a, k * input + col);
    return (scale ?? lora.alpha / rank) * sum;
  });
}
