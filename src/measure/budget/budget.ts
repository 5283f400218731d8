import { nearestSize } from "../../adapters/budget.ts";
import { isAdapterMethod, METHODS } from "../../adapters/methods.ts";
import { findTargets, type Targets } from "../../adapters/base/target-modules.ts";
import { RandloraError } from "../../files/errors.ts";
import { formatAmount, formatBytes, formatNumber, formatShare } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
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

/** Further off than this a method is said not to reach the budget. */
const FAR = 0.05;

/** What a size is one of. */
const UNITS = { rank: "rank", bases: "number of bases" } as const;

/** @json budget */
interface BudgetJson {
  readonly budget: number;
  readonly targets: Budget["targets"];
  readonly modules: number;
  readonly model_parameters: number;
  readonly model_bytes: number;
  /** By name. */
  readonly methods: Readonly<Record<string, MethodJson>>;
}

interface MethodJson {
  readonly rank?: number;
  readonly bases?: number;
  readonly parameters: number;
  /** Part of the budget, negative below it. */
  readonly distance: number;
  /** Base as stored and 16 bytes a trainable parameter, without random bases and activations. */
  readonly memory_bytes: number;
  /** Operations of 1024 tokens or 32 images, without attention. */
  readonly step_flops: number;
}

export function budgetJson({ parameters, targets, modules, methods }: Budget, model: PlannedModel): BudgetJson {
  const entries = methods.map(({ name, size, ...rest }) => {
    const decided = size === undefined ? {} : { [size.setting]: size.value };
    return [
      name,
      {
        ...decided,
        parameters: rest.parameters,
        distance: rest.distance,
        memory_bytes: rest.bytes,
        step_flops: rest.flops,
      },
    ];
  });
  return {
    budget: parameters,
    targets,
    modules,
    model_parameters: model.parameters,
    model_bytes: model.bytes,
    methods: Object.fromEntries(entries),
  };
}

/** The same for people. */
export function budgetText(
  { parameters, modules, methods }: Budget,
  model: PlannedModel,
  { columns, style }: { readonly columns: number; readonly style: Style },
): string {
  const rows = methods.map((method) => [
    method.name,
    method.size === undefined ? "" : `${method.size.setting} ${formatNumber(method.size.value)}`,
    formatNumber(method.parameters),
    formatShare(method.parameters / model.parameters),
    against(method),
    formatBytes(method.bytes),
    `${formatNumber(method.flops / 1e9, method.flops < 1e10 ? 2 : 0)} GFLOP`,
    Math.abs(method.distance) > FAR && method.size !== undefined ? `no ${UNITS[method.size.setting]} comes nearer` : "",
  ]);
  const head = ["method", "size", "parameters", "of the model", "off by", "memory", "a step", ""];
  return [
    `${formatNumber(parameters)} trainable parameters in ${formatAmount(modules, "module")} (model: ${formatNumber(model.parameters)} parameters)\n`,
    formatTable(rows, { head, align: "llrrrrr", columns, markHead: style.dim }),
    `memory: the base in ${model.format} and ${TRAINED_BYTES} bytes a trainable parameter (value, gradient, AdamW's means)\n`,
    "random bases and activations come on top: `randlora finetune --dry-run` counts them\n",
    `a step: of ${model.step.of} in one micro-batch, attention left out; what that takes depends on the machine\n`,
  ].join("");
}

function against({ distance }: MethodBudget): string {
  const percent = 100 * Math.abs(distance);
  if (percent === 0) return "0 %";
  const digits = percent < 10 ? 2 : percent < 1000 ? 1 : 0;
  return `${distance < 0 ? "−" : "+"}${formatNumber(percent, digits)} %`;
}
