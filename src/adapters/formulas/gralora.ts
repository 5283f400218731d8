import * as v from "valibot";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { recordZero } from "../../compute/tensor/fill.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { positiveInteger } from "../base/config-keys.ts";
import { blocksOf, type Formula, moveStrided, partFrom, type Sizes, tooManyBlocks } from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

const KEYS = { gralora_k: v.optional(positiveInteger, 2), hybrid_r: v.optional(v.number("it must be a number"), 0) };

/**
 * GraLoRA (Jung et al., arXiv:2505.20355; peft/tuners/gralora): ΔW is k × k blocks, each of rank r/k. Block (d, n) is
 * Bₙ · Aₐ, Bₙ of the rows n·r/k … of B[d], Aₐ of the columns d·r/k … of A[n].
 */
export const GRALORA: FormulaMethod<"a" | "b", typeof KEYS> = {
  name: "gralora",
  title: "GraLoRA",
  peftType: "GRALORA",
  peft: {
    dropout: "gralora_dropout",
    bias: "gralora_only",
    keys: KEYS,
    refusal: ({ hybrid_r: hybrid }) =>
      hybrid === 0 ? undefined : `"hybrid_r" is ${hybrid}: a LoRA beside the blocks is not supported`,
  },
  usual: { rank: 32, rankFits: true, alphaPerRank: 2, learningRate: 2e-4 },
  most: (modules) => Math.min(...modules.map(({ out, in: input }) => Math.min(out, input))),
  tensors: {
    names: { a: "gralora_A", b: "gralora_B" },
    shapes: ({ r, own: { gralora_k: k } }, { out, in: input }) => ({ a: [k, input / k, r], b: [k, r, out / k] }),
    meaning: "A is (k, in/k, r) and B (k, r, out/k), k being gralora_k",
  },
  // B is zero, so that training begins with the base itself.
  start: ({ in: input }, { r, own: { gralora_k: k } }, seed, stream) => ({
    a: () => kaimingUniform(k * r, input / k, seed, stream),
  }),
  formula: blocks,
  misfit({ out, in: input }, { r, own: { gralora_k: k } }) {
    const rest = [out, input, r].find((size) => size % k !== 0);
    return rest === undefined
      ? tooManyBlocks(k * k)
      : `gralora_k ${k} does not divide ${rest === r ? `the rank ${r}` : "its sides"}`;
  },
  terms: 2,
};

export const gralora = formulaMethod(GRALORA);

function blocks({ out, in: input }: ModuleShape, { r, own: { gralora_k: k } }: Sizes<typeof KEYS>): Formula<"a" | "b"> {
  const [height, width, terms] = [out / k, input / k, r / k];
  return {
    at({ a, b }, row, col) {
      const [d, o, n, i] = [Math.floor(row / height), row % height, Math.floor(col / width), col % width];
      let sum = 0;
      for (let q = 0; q < terms; q++) {
        sum += itemAt(a, (n * width + i) * r + d * terms + q) * itemAt(b, (d * r + n * terms + q) * height + o);
      }
      return sum;
    },
    form(run, { a, b }, scale, rows, accumulate) {
      // Columns begin anywhere: what is assigned to some would clear the padding of their last vector, too.
      if (!accumulate) recordZero(run, rows.rows);
      const across = run.allocate("Aᵀ", [r, input]);
      moveStrided(run, a, { row: 1, col: a.pitch }, across, { accumulate: false });
      for (const { d, n, o, part: y } of blocksOf(rows, height, width)) {
        const x = { of: partFrom(across, d * terms, n * width), steps: { row: 0, col: 1, term: across.pitch } };
        const w = { of: partFrom(b, d * r + n * terms, o), steps: { row: 1, col: 0, term: b.pitch } };
        recordStridedSums(run, { x, w, y, terms, scale, accumulate: true });
      }
      run.release(across);
    },
    fold(run, { a, b }, scale, rows, gradients) {
      for (const { d, n, o, part: g } of blocksOf(rows, height, width)) {
        const [count] = g.shape;
        /** y = scale · Σ over `some` terms, w's elements at these steps from row to row and from term to term. */
        const sum = (y: Tensor, of: Tensor, w: Tensor, row: number, term: number, some: number) => {
          const x = { of, steps: { row: 0, col: 1, term: of.pitch } };
          recordStridedSums(run, { x, w: { of: w, steps: { row, col: 0, term } }, y, terms: some, scale });
        };
        const [ofA, ofB] = [run.allocate("∂Aᵀ", [terms, width]), run.allocate("∂Bᵀ", [count, terms])];
        sum(ofA, g, partFrom(b, d * r + n * terms, o), b.pitch, 1, count);
        sum(ofB, partFrom(a, n * width, d * terms), g, g.pitch, 1, width);
        moveStrided(run, ofA, { row: 1, col: ofA.pitch }, partFrom(gradients.a, n * width, d * terms, [width, terms]));
        moveStrided(run, ofB, { row: 1, col: ofB.pitch }, partFrom(gradients.b, d * r + n * terms, o, [terms, count]));
        run.release(ofA, ofB);
      }
    },
  };
}
