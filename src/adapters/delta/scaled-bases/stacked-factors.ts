import { multiply } from "../../../compute/rows/arithmetic.ts";
import { recordStridedSums } from "../../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { AdapterContext } from "./factored.ts";
import type { RowFactors } from "./scaled-rows.ts";
import type { BilinearShape } from "./shape.ts";

/** λ and γ of rows: those of a row, padding included, are one row. */
export interface StackedFactors {
  readonly lambda: Tensor;
  readonly gamma: Tensor;
}

/** Commands of λ and γ that rows of a module take by {@link stackedFactors}, however many they are. */
export function stackedCommands({ bases }: AdapterContext, { bases: n, r, tall }: BilinearShape): number {
  if (!tall) return n + 1;
  return n + (bases.pairing === "peft" ? r : n);
}

/**
 * Commands of each basis, or of each row of A, in place of each row's: a prompt has thousands of rows. Every element is the same
 * product or sum, so that a row has the bits that it has among few.
 */
export function stackedFactors(
  { bases: { pairing, unit }, scale }: AdapterContext,
  { bases: n, r }: BilinearShape,
  { lambda, gamma }: StackedFactors,
): RowFactors {
  const [lambdaPitch, gammaPitch] = [lambda.shape[1] / r, gamma.shape[1] / n];
  const isPeft = pairing === "peft";
  return {
    multiplyGamma(run, x, y) {
      for (let basis = 0; basis < n; basis++) {
        const own = { ...from(gamma, basis * gammaPitch), shape: x.shape };
        run.compute("elementwise", { kernel: multiply.kernel(), tensors: { a: x, b: own, y: ofBasis(y, basis, n) } });
      }
    },
    addByLambda(run, products, inner) {
      const { pitch } = products;
      // A command fills columns of B̂ that lie side by side.
      const [count, cols, ofX, ofW] = isPeft
        ? [r, n, { each: 1, col: pitch }, { each: lambdaPitch, col: 1 }]
        : [n, r, { each: pitch, col: 1 }, { each: 1, col: lambdaPitch }];
      for (let at = 0; at < count; at++) {
        recordStridedSums(run, {
          x: { of: from(products, at * ofX.each), steps: { row: n * pitch, col: ofX.col, term: 0 } },
          w: { of: from(lambda, at * ofW.each), steps: { row: lambda.pitch, col: ofW.col, term: 0 } },
          y: { ...from(inner, at * cols), shape: [inner.shape[0], cols] },
          terms: 1,
          scale,
          accumulate: true,
        });
      }
    },
    multiplyLambda(run, inner, y) {
      for (let basis = 0; basis < n; basis++) {
        const [first, col] = isPeft ? [basis, n] : [basis * r, 1];
        recordStridedSums(run, {
          x: { of: from(inner, first), steps: { row: inner.pitch, col, term: 0 } },
          w: { of: from(lambda, basis), steps: { row: lambda.pitch, col: lambdaPitch, term: 0 } },
          y: ofBasis(y, basis, n),
          terms: 1,
          scale: 1,
        });
      }
    },
    addByGamma(run, products, y) {
      recordStridedSums(run, {
        x: { of: products, steps: { row: n * products.pitch, col: 1, term: products.pitch } },
        w: { of: gamma, steps: { row: gamma.pitch, col: 1, term: gammaPitch } },
        y,
        terms: n,
        scale: scale * unit,
        accumulate: true,
      });
    },
  };
}

/** A tensor from this element on. */
function from(tensor: Tensor, first: number): Tensor {
  return { ...tensor, offset: tensor.offset + first };
}

/** The rows of one basis. */
function ofBasis(rows: Tensor, basis: number, n: number): Tensor {
  const { shape, pitch } = rows;
  return { ...from(rows, basis * pitch), shape: [shape[0] / n, shape[1]], pitch: n * pitch };
}
