import type { Bases } from "../../frozen/drawing/bases.ts";
import type { BasesFrom } from "../../frozen/origin.ts";
import { writeTrained } from "../../method/train.ts";
import { type Method, type PassKind, type Placement, type PlaceOptions, dropoutMasks } from "../../method/training.ts";
import { weightFinder } from "../parts.ts";
import { Scratch, fuse, heldBytes } from "../through-weights/held.ts";
import type { BilinearPlan } from "./delta.ts";
import { TrainedBilinear, trainedSizes } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";
import { pitchOf } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { parsePlans, type PlanWords } from "../through-weights/adapted-method.ts";
import { type MatrixShape, type TrainedModule, workspaceSizes, type WorkspaceTerms } from "./factored.ts";
import { adapterFlops, ORDER_NAMES, type OrderPlan, type StepSize } from "./shape.ts";

/** `--compute`. */
type Compute = "auto" | "merged" | "factored";

/** What decides on the orders. */
export interface OrdersQuestion extends WorkspaceTerms, StepSize {
  readonly matrices: readonly MatrixShape[];
  readonly compute: Compute;
  /** Bytes that W', G and scratch may take together; the last resort exceeds it. */
  readonly budget: number;
}

/** The orders, with what they cost. */
interface OrdersPlan {
  /** One for each matrix. */
  readonly matrices: readonly OrderPlan[];
  /** Floating-point operations of a step for the adapters, beside those of the frozen layers. */
  readonly flops: number;
  /** GPU memory: W' and G that are held, scratch, and the largest intermediate products of a pass. */
  readonly bytes: number;
}

const FACTORED: OrderPlan = { order: "factored", kept: false, summed: false };
const UNHELD: OrderPlan = { order: "merged-g", kept: false, summed: false };
/** What may be chosen for the matrices of experts, each of which has other rows. */
const OF_EXPERTS: readonly OrderPlan[] = [{ order: "merged-g", kept: true, summed: false }, UNHELD];
const MERGED: readonly OrderPlan[] = [
  { order: "merged-h", kept: true, summed: false },
  { order: "merged-h", kept: false, summed: false },
  ...OF_EXPERTS,
];
const SUMMED: readonly OrderPlan[] = [
  { order: "merged-g", kept: true, summed: true },
  { order: "merged-g", kept: false, summed: true },
];

/**
 * Chooses an order for each matrix: the fewest floating-point operations, then, while W', G and scratch exceed the
 * budget, whatever gives back the most bytes for an operation more. Where nothing fits, the plan that takes the least.
 */
export function planOrders(question: OrdersQuestion): OrdersPlan {
  const { matrices, compute, microBatches, budget } = question;
  // Within one micro-batch G is summed anyway.
  const merged = microBatches > 1 ? [...MERGED, ...SUMMED] : MERGED;
  const options = compute === "factored" ? [FACTORED] : compute === "merged" ? merged : [FACTORED, ...merged];
  const optionsOf = ({ experts }: MatrixShape) => (experts === undefined ? options : OF_EXPERTS);
  const costs = matrices.map((matrix) => {
    const all = optionsOf(matrix).map((plan) => ({
      plan,
      flops: matrixFlops(matrix, plan, question),
      held: held(matrix, plan, question),
    }));
    return all.toSorted((left, right) => left.flops - right.flops || left.held - right.held);
  });
  const chosen = costs.map(() => 0);
  const costOf = (index: number) => itemAt(itemAt(costs, index), itemAt(chosen, index));
  const plans = () => costs.map((_, index) => costOf(index).plan);
  let bytes = orderBytes(matrices, plans(), question);
  while (bytes > budget) {
    let best: { readonly index: number; readonly option: number; readonly price: number } | undefined;
    costs.forEach((all, index) => {
      const now = costOf(index);
      all.forEach((other, option) => {
        if (other.held >= now.held) return;
        const price = (other.flops - now.flops) / (now.held - other.held);
        if (best === undefined || price < best.price) best = { index, option, price };
      });
    });
    if (best === undefined) break;
    chosen[best.index] = best.option;
    bytes = orderBytes(matrices, plans(), question);
  }
  if (bytes > budget) {
    // Scratch is what is left: the same order everywhere may need less of it.
    for (const plan of options) {
      const same = matrices.map(({ experts }) => (experts === undefined ? plan : UNHELD));
      const all = orderBytes(matrices, same, question);
      if (all >= bytes) continue;
      bytes = all;
      costs.forEach((all, index) => (chosen[index] = all.findIndex((cost) => cost.plan === same[index])));
    }
  }
  const flops = costs.reduce((sum, _, index) => sum + costOf(index).flops, 0);
  return { matrices: plans(), flops, bytes };
}

function matrixFlops({ modules }: MatrixShape, plan: OrderPlan, step: StepSize): number {
  return modules.reduce((sum, shape) => sum + adapterFlops(shape, plan, step), 0);
}

/** Bytes that a matrix holds for itself between micro-batches. */
function held(matrix: MatrixShape, { kept, summed }: OrderPlan, { dropout }: WorkspaceTerms): number {
  const { merged, product } = heldBytes(matrix, dropout);
  return (kept ? merged : 0) + (summed ? product : 0);
}

/** GPU memory that these orders take: what matrices hold, scratch, and the largest intermediate products. */
export function orderBytes(
  matrices: readonly MatrixShape[],
  plans: readonly OrderPlan[],
  terms: WorkspaceTerms & Pick<StepSize, "tokens">,
): number {
  const own = matrices.reduce((sum, matrix, index) => sum + held(matrix, plans[index] ?? FACTORED, terms), 0);
  const shared = Object.values<number>({ ...workspaceSizes(matrices, plans, terms) }).reduce(
    (sum, bytes) => sum + bytes,
    0,
  );
  return own + shared + passBytes(matrices, plans, terms);
}

/** What the products of one module hold beside activations: U, V or H, and inputs of the adapter that dropout made. */
function passBytes(
  matrices: readonly MatrixShape[],
  plans: readonly OrderPlan[],
  { tokens, dropout }: WorkspaceTerms & Pick<StepSize, "tokens">,
): number {
  const row = (cols: number) => tokens * pitchOf(cols, "F32") * 4;
  const largest = matrices.map((matrix, index) => {
    const order = plans[index]?.order ?? "factored";
    const products = { factored: 2, "merged-h": 1, "merged-g": 0 }[order];
    return Math.max(...matrix.modules.map(({ terms }) => products * row(terms) + (dropout ? 2 * row(matrix.in) : 0)));
  });
  return Math.max(0, ...largest);
}

/** One order for each matrix that the modules are rows of: planned anew, or those of the run that is resumed. */
function chooseOrders(
  { compute, dropout }: { readonly compute: Compute; readonly dropout: number },
  place: PlaceOptions,
  bases: TrainingBases,
  modules: readonly TrainedModule[],
): readonly OrderPlan[] {
  const matrices = fuse(modules).map(({ shape }) => shape);
  if (place.beside === true) return matrices.map(() => FACTORED);
  if (place.choices !== undefined) return parsePlans(ORDERS, place.choices, matrices.length, place.choicesFile);
  return planOrders({
    matrices,
    compute,
    budget: place.budget,
    partBytes: (shape) => bases.partBytes(shape),
    tokens: place.tokens,
    microBatches: place.microBatches,
    dropout: dropout > 0,
    density: bases.density,
    panelBytes: (shape) => bases.operandBytes(shape),
  }).matrices;
}

/** `merged-g+kept+summed`. */
function formatOrder({ order, kept, summed }: OrderPlan): string {
  return `${order}${kept ? "+kept" : ""}${summed ? "+summed" : ""}`;
}

/** What {@link formatOrder} makes, as a run's state has it. */
export const ORDERS: PlanWords<OrderPlan> = {
  choice: "orders",
  plural: "orders of products",
  none: "no",
  unknown: "is no order of products",
  parse(text) {
    const [name, ...flags] = text.split("+");
    const order = ORDER_NAMES.find((known) => known === name) ?? "factored";
    const plan = { order, kept: flags.includes("kept"), summed: flags.includes("summed") };
    return formatOrder(plan) === text ? plan : undefined;
  },
};

/** An adapter before it is placed. */
export interface BilinearAdapter extends BilinearPlan {
  readonly bases: Bases;
  readonly basesFrom: BasesFrom;
}

/**
 * Writes the initial λ and γ, uploads the bases, and plans the orders of products: a method but for what it saves.
 * @throws RandloraError `memory`; `format` where the choices of a resumed run do not fit the model
 */
export async function placeBilinear(
  on: Placement,
  { adapter: source, layers, scale, pairing, ...from }: BilinearAdapter,
  settings: { readonly compute: Compute; readonly dropout: number },
  seed: number,
): Promise<Omit<Method, "content">> {
  const { gpu, parameters, tensors, place, factor = 1 } = on;
  const bases = await TrainingBases.shared(on, from.bases, pairing);
  await writeTrained(parameters, source, layers);
  const find = weightFinder(tensors);
  const trained = layers.map(({ module: name, tensor, sizes: shape, tensors: { lambda, gamma } }) => {
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    return { name, ...find(tensor), shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(settings, place, bases, trained);
  const dropout = settings.dropout > 0;
  const options = { bases, modules: trained, scale: scale * factor, dropout, plans };
  const sizes = trainedSizes(options);
  const workspace = await on.share?.(JSON.stringify(sizes), (shared) => new Scratch(shared, sizes));
  const adapter = new TrainedBilinear(gpu, { ...options, workspace });
  const masks = (pass: PassKind) => dropoutMasks(settings.dropout, seed, pass);
  return {
    choices: { orders: plans.map(formatOrder), bases: from.basesFrom },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    over: adapter.addsToOthers ? (pass, base) => adapter.linears(masks(pass), base) : undefined,
    joint: adapter.addsToOthers ? adapter : undefined,
    formed: adapter.formed,
    finish: (run) => adapter.finish(run),
  };
}
