import { nearestSize } from "../../adapters/budget.ts";
import { isAdapterMethod, METHODS } from "../../adapters/methods.ts";
import { findTargets, type Targets } from "../../adapters/base/target-modules.ts";
import { RandloraError } from "../../files/errors.ts";
import type { PlannedModel } from "./planned-model.ts";

/** The trainable parameters wanted: a number, or as many as a method trains at a size. */
export type BudgetWish =
  | { readonly parameters: number }
  | { readonly method: string; readonly size: number | undefined };

/** A method at the size that is nearest to the budget. */
export interface MethodBudget {
  readonly name: string;
  readonly title: string;
  /** Which setting decides, and its value; undefined for a method that trains all weights. */
  readonly size: { readonly setting: "rank" | "bases"; readonly value: number } | undefined;
  readonly parameters: number;
  /** How far that is from the budget, as a part of it: negative below. */
  readonly distance: number;
  /** The frozen base as it is stored, and all that training holds of each trainable parameter. */
  readonly bytes: number;
  /** Floating-point operations of the model's `step`, attention left out. */
  readonly flops: number;
}

export interface Budget {
  readonly parameters: number;
  readonly targets: string | readonly string[];
  readonly modules: number;
  readonly methods: readonly MethodBudget[];
}

/** A trainable parameter in f32: its value, its gradient, and AdamW's two means (`train/loop/adamw.ts`). */
export const TRAINED_BYTES = 16;

/**
 * Chooses the size of every method whose trainable parameters are nearest to the budget; its other settings are the defaults.
 * @throws RandloraError `usage` where the targets match nothing, or the wish names no size or one that makes no sense
 */
export function planBudget(model: PlannedModel, wish: BudgetWish, wanted: Parameters<typeof findTargets>[1]): Budget {
  const { base, held, trained: whole, step } = model;
  const stored = (count: number) => Math.round((count / model.parameters) * model.bytes);
  const { modules }: Targets = findTargets(base, wanted);
  const parameters = "parameters" in wish ? wish.parameters : countLike(wish, modules, whole);
  // y and ∂loss/∂x of every matrix; where all are trained, their gradients as well.
  const flops = (areTrained: boolean) =>
    step.products.reduce((sum, { parameters, rows, isDifferentiated, isTrained }) => {
      return sum + 2 * rows * parameters * (1 + Number(isDifferentiated) + Number(areTrained && isTrained));
    }, 0);
  const frozen = flops(false);
  const rowsOf = new Map(step.products.map(({ tensor, rows }) => [tensor, rows]));
  const alike = [...Map.groupBy(modules, ({ tensor }) => rowsOf.get(tensor) ?? 0)].filter(([rows]) => rows > 0);
  const distance = (count: number) => (count - parameters) / parameters;
  const methods = METHODS.flatMap((method): MethodBudget | [] => {
    const { name, title } = method;
    if (!isAdapterMethod(method)) {
      const bytes = whole * TRAINED_BYTES + stored(held - whole);
      return {
        name,
        title,
        size: undefined,
        parameters: whole,
        distance: distance(whole),
        bytes,
        flops: Math.round(flops(true)),
      };
    }
    const { capacity } = method.training;
    const { value, parameters: count } = nearestSize(capacity, modules, parameters);
    // Its blocks divide none of these layers.
    if (!Number.isFinite(count)) return [];
    return {
      name,
      title,
      size: { setting: capacity.setting, value },
      parameters: count,
      distance: distance(count),
      bytes: stored(held) + count * TRAINED_BYTES,
      flops: Math.round(alike.reduce((sum, [rows, some]) => sum + capacity.flops(some, value, {}, rows), frozen)),
    };
  });
  return { parameters, targets: wanted.targets, modules: modules.length, methods };
}

/** What the method trains at the size that was named. */
function countLike(
  { method: name, size }: { readonly method: string; readonly size: number | undefined },
  modules: Targets["modules"],
  whole: number,
): number {
  const asked = size === undefined ? name : `${name}:${size}`;
  const method = METHODS.find((one) => one.name === name);
  if (method === undefined) {
    const hint = `methods: ${METHODS.map((one) => one.name).join(", ")}`;
    throw new RandloraError("usage", `--like ${asked}: no such method`, hint);
  }
  if (!isAdapterMethod(method)) {
    if (size === undefined) return whole;
    throw new RandloraError("usage", `--like ${asked}: it trains all weights, whatever the size`, `--like ${name}`);
  }
  const { setting, most, count } = method.training.capacity;
  if (size === undefined) {
    const own: Readonly<Record<string, unknown>> = { ...method.training.resolve({}) };
    const hint = `say its ${setting}: --like ${name}:${String(own[setting] ?? method.training.usual.rank)}`;
    throw new RandloraError("usage", `--like ${asked}: how large?`, hint);
  }
  const largest = most(modules);
  if (size > largest) {
    const cause = `--like ${asked}: its ${setting} is at most ${largest} for these modules`;
    throw new RandloraError("usage", cause, "give less");
  }
  return count(modules, size, {});
}
