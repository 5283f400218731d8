import * as v from "valibot";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { type DeltaRows, type Formula, recordRounded, type Sizes } from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

// PEFT 0.21.2 writes the pattern, and gives all modules one rank.
const KEYS = { rank_pattern: v.nullish(v.record(v.string(), v.unknown()), {}) };

/** HiRA (Huang et al., ICLR 2025; peft/tuners/hira): ΔW = W ∘ (B · A), element by element. */
export const HIRA: FormulaMethod<"a" | "b", typeof KEYS> = {
  name: "hira",
  title: "HiRA",
  peftType: "HIRA",
  peft: {
    dropout: "hira_dropout",
    keys: KEYS,
    refusal: ({ rank_pattern: ranks }) =>
      Object.keys(ranks ?? {}).length > 0 ? '"rank_pattern" is not supported' : undefined,
    roundsDelta: true,
  },
  usual: { rank: 32, alphaPerRank: null, learningRate: 4.5e-3 },
  most: (modules) => Math.min(...modules.map(({ out, in: input }) => Math.min(out, input))),
  tensors: {
    names: { a: "hira_A", b: "hira_B" },
    shapes: ({ r }, { out, in: input }) => ({ a: [r, input], b: [out, r] }),
    meaning: "A is (r, in) and B (out, r)",
  },
  // B is zero, so that training begins with the base itself.
  start: ({ in: input }, { r }, seed, stream) => ({ a: () => kaimingUniform(r, input, seed, stream) }),
  formula: hadamard,
  takesWeight: () => true,
  terms: 2,
};

export const hira = formulaMethod(HIRA);

function hadamard({ in: input }: ModuleShape, { r }: Sizes<typeof KEYS>): Formula<"a" | "b"> {
  /** y (+)= scale · W ∘ x */
  const multiply = (run: Run, weight: DeltaRows["weight"], x: Tensor, y: Tensor, scale: number, accumulate = false) => {
    if (weight === undefined) throw new Error("HiRA's formula takes W");
    const w = { of: x, steps: { row: x.pitch, col: 1, term: 0 } };
    recordStridedSums(run, { x: weight, w, y, terms: 1, scale, accumulate });
  };
  return {
    at({ a, b }, row, col, weight) {
      let sum = 0;
      for (let k = 0; k < r; k++) sum += itemAt(b, row * r + k) * itemAt(a, k * input + col);
      return weight(row, col) * sum;
    },
    form(run, { a, b }, scale, { first, rows, weight, rounding }, accumulate) {
      const product = run.allocate("B·A", rows.shape);
      recordGemm(run, { order: "NN", a: sliceRows(b, first, rows.shape[0]), b: a, y: product });
      recordRounded(run, product, rounding);
      multiply(run, weight, product, rows, scale, accumulate);
      run.release(product);
    },
    fold(run, { a, b }, scale, { first, rows: g, weight }, to) {
      const product = run.allocate("∂(B·A)", g.shape);
      multiply(run, weight, g, product, scale);
      const [of, into] = [b, to.b].map((tensor) => sliceRows(tensor, first, g.shape[0])) as [Tensor, Tensor];
      recordGemm(run, { order: "TN", a: of, b: product, y: to.a, accumulate: true });
      recordGemm(run, { order: "NT", a: product, b: a, y: into, accumulate: true });
      run.release(product);
    },
  };
}
