import * as v from "valibot";
import { dividedByNorms } from "../../compute/rows/norms.ts";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums, type Strided } from "../../compute/tensor/strided-sums.ts";
import { type Shape, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { finiteNumber } from "../base/config-keys.ts";
import { recordNorms } from "../delta/magnitude/trainable.ts";
import { type Formula, type Matrices, ones, rowsOf, type Sizes } from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

const KEYS = {
  delora_lambda: v.optional(finiteNumber, 15),
  // These two say how an adapter began.
  lambda_pattern: v.optional(v.unknown(), {}),
  init_weights: v.optional(v.unknown(), true),
};

/** The least norm of a row of A or a column of B. */
const LEAST = 1e-4;

type Tensors = "a" | "b" | "lambda" | "norms";

/**
 * DeLoRA (Bini et al., ICLR 2025; peft/tuners/delora): ΔW = B diag(λ / (r ‖Aₖ‖ ‖Bₖ‖)) A diag(n), rows Aₖ and columns Bₖ; n are
 * the norms of W's columns as training began.
 */
export const DELORA: FormulaMethod<Tensors, typeof KEYS> = {
  name: "delora",
  title: "DeLoRA",
  peftType: "DELORA",
  peft: {
    dropout: "module_dropout",
    alpha: "delora_lambda",
    ranks: "rank_pattern",
    bias: "delora_only",
    keys: KEYS,
    roundsDelta: true,
  },
  usual: { rank: 8, alpha: 15, alphaPerRank: 15 / 8, learningRate: 1e-3 },
  most: (modules) => Math.min(...modules.map(({ out, in: input }) => Math.min(out, input))),
  tensors: {
    names: { a: "delora_A", b: "delora_B", lambda: "delora_lambda", norms: "delora_w_norm" },
    shapes: ({ r }, { out, in: input }) => ({ a: [r, input], b: [out, r], lambda: [1], norms: [input] }),
    fixed: ["norms"],
    meaning: "A is (r, in), B (out, r) and w_norm (in)",
  },
  start: ({ in: input }, { r, own }, seed, stream) => ({
    a: () => kaimingUniform(r, input, seed, stream),
    lambda: () => Float32Array.of(own.delora_lambda),
  }),
  begin(run, weight, { norms }) {
    const squares = run.allocate("squares", norms.shape);
    for (const { first, rows } of rowsOf(weight)) {
      run.compute("columnSquares", { weight: rows, delta: undefined, sums: squares, accumulate: first > 0 });
    }
    recordNorms(run, weight, squares, norms);
    run.release(squares);
  },
  formula: normalized,
  terms: 4,
};

export const delora = formulaMethod(DELORA);

/** An operand of strided sums. */
const along = (of: Tensor, row: number, col: number, term = 0): Strided => ({ of, steps: { row, col, term } });
const whole = (of: Tensor) => along(of, of.pitch, 1);
/** A vector whose elements are factors of rows, or of columns. */
const ofRows = (of: Tensor) => along(of, 1, 0);
const ofCols = (of: Tensor) => along(of, 0, 1);
/** A matrix whose columns are summed. */
const down = (of: Tensor) => along(of, 0, 1, of.pitch);
type Four = [Tensor, Tensor, Tensor, Tensor];

function normalized({ out, in: input }: ModuleShape, { r }: Sizes<typeof KEYS>): Formula<Tensors> {
  const vector = [1, r] as const;
  const numbers = { least: LEAST };

  /** λ/r, squared norms and λ/r over these; B's rows times that, and A times W's norms. */
  const partsOf = (run: Run, { a, b, lambda, norms }: Matrices<Tensors>, first: number, count: number) => {
    const part = (name: string, shape: Shape, x: Strided, w: Strided, scale = 1, terms = 1) => {
      const y = run.allocate(name, shape);
      recordStridedSums(run, { x, w, y, terms, scale });
      return y;
    };
    const [one, rowsOfA, colsOfB] = [ones(run), along(a, 0, a.pitch, 1), down(b)];
    const squares = {
      x: part("λ/r", vector, along(lambda, 0, 0), one, 1 / r),
      a: part("‖A‖²", vector, rowsOfA, rowsOfA, 1, input),
      b: part("‖B‖²", vector, colsOfB, colsOfB, 1, out),
    };
    const factors = run.allocate("λ/r ‖A‖ ‖B‖", vector);
    run.compute("elementwise", { kernel: dividedByNorms.kernel(), tensors: { ...squares, y: factors }, numbers });
    const left = part("B", [count, r], whole(sliceRows(b, first, count)), ofCols(factors));
    return { ...squares, y: factors, left, right: part("A", [r, input], whole(a), ofCols(norms)) };
  };

  return {
    at({ a, b, lambda, norms }, row, col) {
      let sum = 0;
      for (let k = 0; k < r; k++) {
        let [ofA, ofB] = [0, 0];
        for (let j = 0; j < input; j++) ofA += itemAt(a, k * input + j) ** 2;
        for (let i = 0; i < out; i++) ofB += itemAt(b, i * r + k) ** 2;
        const norm = Math.max(Math.sqrt(ofA), LEAST) * Math.max(Math.sqrt(ofB), LEAST);
        sum += (itemAt(b, row * r + k) * itemAt(a, k * input + col)) / norm;
      }
      return (sum * itemAt(lambda, 0) * itemAt(norms, col)) / r;
    },
    form(run, of, scale, { first, rows }, accumulate) {
      const { left, right, ...parts } = partsOf(run, of, first, rows.shape[0]);
      recordGemm(run, { order: "NN", a: left, b: right, y: rows, scale, accumulate });
      run.release(left, right, ...Object.values(parts));
    },
    fold(run, of, scale, { first, rows: g }, to) {
      const [count] = g.shape;
      const { left, right, ...parts } = partsOf(run, of, first, count);
      const [b, toB] = [sliceRows(of.b, first, count), sliceRows(to.b, first, count)];
      const add = (y: Tensor, x: Strided, w: Strided, factor: number, terms = 1) =>
        recordStridedSums(run, { x, w, y, terms, scale: factor, accumulate: true });
      // ∂/∂B before its factors, ∂/∂A before its norms.
      const [ofB, ofA] = [run.allocate("∂B", [count, r]), run.allocate("∂A", [r, input])];
      recordGemm(run, { order: "NT", a: g, b: right, y: ofB });
      recordGemm(run, { order: "TN", a: left, b: g, y: ofA });
      add(toB, whole(ofB), ofCols(parts.y), scale);
      add(to.a, whole(ofA), ofCols(of.norms), scale);
      const [dy, dx, da, db] = ["∂factors", "∂λ/r", "∂‖A‖²", "∂‖B‖²"].map((name) => run.allocate(name, vector)) as Four;
      recordStridedSums(run, { x: down(b), w: down(ofB), y: dy, terms: count, scale });
      const kernel = dividedByNorms.kernel(undefined, ["x", "a", "b"]);
      run.compute("elementwise", { kernel, tensors: { ...parts, dy, dx, da, db }, numbers });
      add(to.lambda, along(dx, 0, 0, 1), ones(run), 1 / r, r);
      add(to.a, whole(of.a), ofRows(da), 2);
      add(to.b, whole(of.b), ofCols(db), 2);
      run.release(left, right, ofB, ofA, dy, dx, da, db, ...Object.values(parts));
    },
  };
}
