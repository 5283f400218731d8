import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { MethodChoices, PlaceOptions } from "../../training/method.ts";
import type { OrderPlan } from "./flops.ts";
import { fuse } from "../through-weights/fused.ts";
import type { TrainedModule } from "./module.ts";
import { type Compute, planOrders } from "./plan-orders.ts";
import type { TrainingBases } from "./training-bases.ts";

const ORDERS = ["factored", "merged-h", "merged-g"] as const;

/** One order for each matrix that the modules are rows of: planned anew, or those of the run that is resumed. */
export function chooseOrders(
  { compute, dropout }: { readonly compute: Compute; readonly dropout: number },
  place: PlaceOptions,
  bases: TrainingBases,
  modules: readonly TrainedModule[],
): readonly OrderPlan[] {
  const matrices = fuse(modules).map(({ shape }) => shape);
  if (place.choices !== undefined) return parseOrders(place.choices, matrices.length, place.choicesFile);
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
export function formatOrder({ order, kept, summed }: OrderPlan): string {
  return `${order}${kept ? "+kept" : ""}${summed ? "+summed" : ""}`;
}

/**
 * What {@link formatOrder} made, of a resumed run: other orders would round differently.
 * @param file where they were read
 * @throws RandloraError `format` for another number of them than `count`, and for unknown ones
 */
export function parseOrders(choices: MethodChoices, count: number, file = "the state"): OrderPlan[] {
  const orders = choices["orders"];
  const refuse = (cause: string) => {
    const hint = "the state is damaged, or another version of randlora wrote it: start a new run";
    return new RandloraError("format", `${oneLine(file)}: "kernels.choices.orders": ${cause}`, hint);
  };
  if (!Array.isArray(orders) || orders.length !== count) {
    const found = Array.isArray(orders) ? orders.length : "no";
    throw refuse(`${found} orders of products, and the model has ${count} adapted matrices`);
  }
  return orders.map((text) => {
    const [name, ...flags] = text.split("+");
    const order = ORDERS.find((known) => known === name) ?? "factored";
    const plan = { order, kept: flags.includes("kept"), summed: flags.includes("summed") };
    if (formatOrder(plan) !== text) throw refuse(`${quote(text)} is no order of products`);
    return plan;
  });
}
