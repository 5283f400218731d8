// A template for an adapter method: copy it to `src/adapters/METHOD/method.ts`, and change what it says.
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Formula, Sizes } from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

/** ΔW = α/r · B·A, LoRA's, by its definition. */
export const TEMPLATE: FormulaMethod<"a" | "b"> = {
  name: "template",
  title: "Template",
  peftType: "TEMPLATE",
  usual: { rank: 8, alphaPerRank: 2, learningRate: 1e-4 },
  most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
  tensors: {
    names: { a: "template_A", b: "template_B" },
    shapes: ({ r }, { out, in: input }) => ({ a: [r, input], b: [out, r] }),
    meaning: "A is (r, in) and B (out, r)",
  },
  // B is zero, so that training begins with the base itself.
  start: ({ in: input }, { r }, seed, stream) => ({ a: () => kaimingUniform(r, input, seed, stream) }),
  formula: lowRank,
  terms: 2,
};

export const template = formulaMethod(TEMPLATE);

function lowRank({ in: input }: ModuleShape, { r: rank }: Sizes): Formula<"a" | "b"> {
  return {
    at({ a, b }, row, col) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += itemAt(b, row * rank + k) * itemAt(a, k * input + col);
      return sum;
    },
    form(run, { a, b }, scale, { first, rows }, accumulate) {
      recordGemm(run, { order: "NN", a: sliceRows(b, first, rows.shape[0]), b: a, y: rows, scale, accumulate });
    },
    fold(run, { a, b }, scale, { first, rows: g }, to) {
      const [of, into] = [b, to.b].map((tensor) => sliceRows(tensor, first, g.shape[0])) as [typeof b, typeof b];
      recordGemm(run, { order: "TN", a: of, b: g, y: to.a, scale, accumulate: true });
      recordGemm(run, { order: "NT", a: g, b: a, y: into, scale, accumulate: true });
    },
  };
}
