import type { Device } from "../../../compute/device/device.ts";
import { addGroupedLinear } from "../../../compute/tensor/add-grouped-linear.ts";
import { addLinear } from "../../../compute/tensor/add-linear.ts";
import { partCols, sliceCols, sliceRows, type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type Linears, PLAIN_LINEARS, projectGroups } from "../../../models/blocks/linears.ts";
import {
  type Addend,
  type Method,
  type Placement,
  type MethodChoices,
  type PlaceOptions,
  dropoutMasks,
} from "../../method/training.ts";
import {
  fuse,
  type FusedMatrix,
  type AdaptedModule,
  type FusedShape,
  heldBytes,
  type ModuleRows,
  type ProductsPlan,
} from "./held.ts";
import { TrainedWeights } from "./trained.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";

/** What decides on what is held. */
interface ProductsQuestion {
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
function chooseProducts(
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

/** ΔW of a module, or of the same module of each expert: (experts · out, in) F32. */
interface HeldDelta {
  readonly delta: Tensor;
  /** Its first column of a product, or of one expert's. */
  readonly column: number;
  readonly out: number;
  readonly parts: readonly { readonly module: AdaptedModule; readonly first: number }[];
}

/**
 * Modules beside weights where ΔW has no factors: it is formed once, and multiplied with apart from W.
 * @throws RandloraError `memory`
 */
function heldDeltas(gpu: Device, modules: readonly AdaptedModule[]): Omit<Addend, "content"> {
  const held = new Map(fuse(modules).map((matrix) => [matrix.weight.buffer, hold(gpu, matrix)]));
  const over = (base: Linears): Linears => ({
    apply(recorder, inputs) {
      const y = base.apply(recorder, inputs);
      for (const { delta, column, out } of held.get(inputs.weight.buffer) ?? []) {
        addLinear(recorder, { x: inputs.x, weight: delta, scale: 1 }, partCols(y, column, out));
      }
      return y;
    },
    applyGrouped(recorder, projection) {
      const y = projectGroups(recorder, base, projection);
      for (const { delta, column, out } of held.get(projection.weight.buffer) ?? []) {
        const { x, begins, rowsAtMost } = projection;
        addGroupedLinear(recorder, { x, weight: delta, begins, rowsAtMost }, sliceCols(y, column, out));
      }
      return y;
    },
  });
  return {
    choices: {},
    prepare(run) {
      for (const { delta, parts } of [...held.values()].flat()) {
        for (const { module, first } of parts) module.form(run, sliceRows(delta, first, module.shape.out), false);
      }
    },
    watched: () => [],
    linears: () => over(PLAIN_LINEARS),
    over: (_, base) => over(base),
    finish() {},
  };
}

function hold(
  gpu: Device,
  { weight, shape: { in: input, experts = 1 }, parts }: FusedMatrix<AdaptedModule>,
): HeldDelta[] {
  const rows = weight.shape[0] / experts;
  return [...Map.groupBy(parts, ({ first }) => first % rows)].map(([column, own]) => {
    const { out } = itemAt(own, 0).module.shape;
    const shape = [experts * out, input] as const;
    const buffer = gpu.memory.allocate(`${weight.buffer.label}: ΔW`, tensorBytes(shape, "F32"));
    gpu.clear([buffer]);
    const delta = tensorIn(buffer, shape, "F32");
    const placed = own.map(({ module, first }) => ({ module, first: Math.floor(first / rows) * out }));
    return { delta, column, out, parts: placed };
  });
}

/**
 * A method at work whose ΔW is formed whole: all but what is written of it.
 * @param rate of dropout
 */
export function adaptedMethod(
  { gpu, place }: Pick<Placement, "gpu" | "place">,
  modules: readonly AdaptedModule[],
  { rate, seed }: { readonly rate: number; readonly seed: number },
): Omit<Method, "content"> {
  if (place.beside === true) return heldDeltas(gpu, modules);
  const dropout = rate > 0;
  const plans = chooseProducts(
    place,
    fuse(modules).map(({ shape }) => shape),
    dropout,
  );
  const weights = new TrainedWeights(gpu, modules, { dropout, plans });
  return {
    choices: { products: plans.map(formatProducts) },
    prepare: (run) => weights.prepare(run),
    watched: () => [],
    linears: (pass) => weights.linears(dropoutMasks(rate, seed, pass)),
    finish: (run) => weights.finish(run),
  };
}
