import { adapterFlops } from "../../src/adapters/delta/scaled-bases/shape.ts";
import { ORDERS } from "../../src/adapters/delta/scaled-bases/place.ts";
import { fuse } from "../../src/adapters/delta/through-weights/held.ts";
import { parsePlans } from "../../src/adapters/delta/through-weights/adapted-method.ts";
import { randloraShape } from "../../src/adapters/randlora/plan.ts";
import type { PlacedModel } from "../../src/train/text/model.ts";
import { tensorsIn } from "../../src/models/description.ts";
import { microBatchOf } from "./synthetic.ts";

/**
 * Floating-point operations of a step with one micro-batch: the products of the frozen matrices (y and dx), of the output
 * matrix for the supervised tokens, and of the adapter. Attention and elementwise work are left out, as in most such models.
 */
export function stepFlops({ weights, method, summary }: PlacedModel, rank: number, tokens: number): number {
  const matrices = tensorsIn(weights.layers).filter(({ shape }) => shape[0] > 1);
  const frozen = matrices.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  const head = weights.head.shape[0] * weights.head.shape[1];
  const base = 4 * (tokens * frozen + microBatchOf(tokens, 1, 0).rows.length * head);
  if (method.choices["orders"] === undefined) {
    // Two factors of this rank beside each matrix; what they are formed of costs little, and is left out.
    const sides = summary.modules.reduce((sum, { shape: [out = 0, input = 0] }) => sum + out + input, 0);
    return base + 6 * tokens * rank * sides;
  }
  const modules = summary.modules.flatMap(({ name }) => {
    const weight = weights.tensors.get(`${name}.weight`);
    return weight === undefined ? [] : [{ name, weight, shape: randloraShape(...weight.shape, rank) }];
  });
  const size = { tokens, microBatches: 1, dropout: false, density: 1 };
  const fused = fuse(modules);
  const plans = parsePlans(ORDERS, method.choices, fused.length);
  const added = fused.flatMap(({ shape }, index) => {
    const plan = plans[index];
    return plan === undefined ? [] : shape.modules.map((module) => adapterFlops(module, plan, size));
  });
  return base + added.reduce((sum, flops) => sum + flops, 0);
}
