import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { tensorBytes } from "../../compute/tensor/tensor.ts";
import { type FusedShape, mergedBytes } from "../delta/through-weights/fused.ts";
import type { MethodChoices } from "../training/method.ts";

/** What is held of a matrix, so that its bases are drawn less often. */
export interface ProductsPlan {
  /** W' (with dropout: ΔW) is formed once a step and held; otherwise before each use, into scratch. */
  readonly kept: boolean;
  /** G is summed over the micro-batches of a step; otherwise each micro-batch draws the bases again. */
  readonly summed: boolean;
}

/** What decides. */
export interface ProductsQuestion {
  readonly matrices: readonly FusedShape<ModuleRows>[];
  readonly microBatches: number;
  readonly dropout: boolean;
  /** Bytes that may be held. */
  readonly budget: number;
}

export interface ModuleRows {
  readonly out: number;
  readonly in: number;
}

/** Bytes of a module's G (out, in). */
export function gradientBytes({ out, in: input }: ModuleRows): number {
  return tensorBytes([out, input], "F32");
}

/** Bytes of the W' of a matrix, or with dropout of the ΔW of its modules. */
export function heldBytes({ out, in: input, modules }: FusedShape<ModuleRows>, dropout: boolean): number {
  if (!dropout) return mergedBytes(out, input);
  return modules.reduce((sum, module) => sum + mergedBytes(module.out, module.in), 0);
}

/**
 * Drawing takes most of a step, K numbers for each weight. W' first, which at one micro-batch saves one draw of two, then
 * G; of each as many matrices as fit, in their order.
 */
export function planProducts({ matrices, microBatches, dropout, budget }: ProductsQuestion): ProductsPlan[] {
  let left = budget;
  const take = (bytes: number): boolean => {
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  const kept = matrices.map((matrix) => take(heldBytes(matrix, dropout)));
  return matrices.map(({ modules }, index) => ({
    kept: kept[index] ?? false,
    summed: microBatches > 1 && take(modules.reduce((sum, module) => sum + gradientBytes(module), 0)),
  }));
}

const NAMES = ["plain", "kept", "summed", "kept+summed"] as const;

/** `kept+summed`. */
export function formatProducts({ kept, summed }: ProductsPlan): string {
  return NAMES[Number(kept) + 2 * Number(summed)] ?? "plain";
}

/**
 * What {@link formatProducts} made, of a resumed run: sums over other micro-batches would round differently.
 * @param file where they were read
 * @throws RandloraError `format` for another number of them than `count`, and for unknown ones
 */
export function parseProducts(choices: MethodChoices, count: number, file = "the state"): ProductsPlan[] {
  const products = choices["products"];
  const refuse = (cause: string) => {
    const hint = "the state is damaged, or another version of randlora wrote it: start a new run";
    return new RandloraError("format", `${oneLine(file)}: "kernels.choices.products": ${cause}`, hint);
  };
  if (!Array.isArray(products) || products.length !== count) {
    const found = Array.isArray(products) ? products.length : "none";
    throw refuse(`${found} of them, and the model has ${count} adapted matrices`);
  }
  return products.map((text) => {
    const index = NAMES.findIndex((name) => name === text);
    if (index < 0) throw refuse(`${quote(text)} says nothing of what is held`);
    return { kept: index % 2 === 1, summed: index >= 2 };
  });
}
