import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { MethodChoices, PlaceOptions } from "../../method/training.ts";
import { type FusedShape, heldBytes, type ModuleRows, type ProductsPlan } from "./held.ts";

/** What decides on what is held. */
export interface ProductsQuestion {
  readonly matrices: readonly FusedShape<ModuleRows>[];
  readonly microBatches: number;
  readonly dropout: boolean;
  /** Bytes that may be held. */
  readonly budget: number;
}

/**
 * Of experts G is folded after each micro-batch. W' first, which at one micro-batch saves one forming of ΔW in two, then G; of each as many matrices as fit, in their
 * order.
 */
export function planProducts({ matrices, microBatches, dropout, budget }: ProductsQuestion): ProductsPlan[] {
  let left = budget;
  const take = (bytes: number): boolean => {
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  const bytes = matrices.map((matrix) => heldBytes(matrix, dropout));
  const kept = bytes.map(({ merged }) => take(merged));
  return bytes.map(({ product }, at) => {
    const summed = microBatches > 1 && matrices[at]?.experts === undefined && take(product);
    return { kept: kept[at] ?? false, summed };
  });
}

const NAMES = ["plain", "kept", "summed", "kept+summed"] as const;

/** `kept+summed`. */
export function formatProducts({ kept, summed }: ProductsPlan): string {
  return NAMES[Number(kept) + 2 * Number(summed)] ?? "plain";
}

/** What {@link formatProducts} makes, as a run's state has it. */
export const PRODUCTS: PlanWords<ProductsPlan> = {
  choice: "products",
  plural: "of them",
  none: "none",
  unknown: "says nothing of what is held",
  parse(text) {
    const index = NAMES.findIndex((name) => name === text);
    return index < 0 ? undefined : { kept: index % 2 === 1, summed: index >= 2 };
  },
};

/** What a resumed run chose, or what fits. @throws RandloraError as {@link parsePlans} */
export function chooseProducts(
  { choices, choicesFile, microBatches, budget }: PlaceOptions,
  matrices: readonly FusedShape<ModuleRows>[],
  dropout: boolean,
): readonly ProductsPlan[] {
  if (choices !== undefined) return parsePlans(PRODUCTS, choices, matrices.length, choicesFile);
  return planProducts({ matrices, microBatches, dropout, budget });
}

/** How a run's state names what was planned for its matrices. */
export interface PlanWords<P> {
  /** The choice: `orders`. */
  readonly choice: string;
  /** What they are, after how many: "orders of products". */
  readonly plural: string;
  /** How many where there are none: "no". */
  readonly none: string;
  /** What is wrong with an unknown one. */
  readonly unknown: string;
  parse(text: string): P | undefined;
}

/**
 * What was planned for the matrices of a resumed run: sums in other orders, or over other micro-batches, would round
 * differently.
 * @param file where they were read
 * @throws RandloraError `format` for another number of them than `count`, and for unknown ones
 */
export function parsePlans<P>(
  { choice, plural, none, unknown, parse }: PlanWords<P>,
  choices: MethodChoices,
  count: number,
  file = "the state",
): P[] {
  const texts = choices[choice];
  const refuse = (cause: string) => {
    const hint = "the state is damaged, or another version of randlora wrote it: start a new run";
    return new RandloraError("format", `${oneLine(file)}: "kernels.choices.${choice}": ${cause}`, hint);
  };
  if (!Array.isArray(texts) || texts.length !== count) {
    const found = Array.isArray(texts) ? texts.length : none;
    throw refuse(`${found} ${plural}, and the model has ${count} adapted matrices`);
  }
  return texts.map((text) => {
    const plan = parse(text);
    if (plan === undefined) throw refuse(`${quote(text)} ${unknown}`);
    return plan;
  });
}
