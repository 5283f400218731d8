import { recordZero } from "../fill.ts";
import { at, defineOp, type Matrix, matrixOf, type Of, requireShapes } from "../op.ts";

export interface RopeAttributes {
  /** Elements of a head; a multiple of 4. */
  readonly headSize: number;
  /** Elements turn with their neighbors (GLM-4, Cohere), instead of with one half a head away. */
  readonly neighbors: boolean;
}

const INPUTS = { q: "needed", k: "optional", v: "optional", cos: "needed", sin: "needed" } as const;
const OUTPUTS = { q: "needed", k: "optional", v: "optional" } as const;

/**
 * Rotary position embedding (Su et al., arXiv:2104.09864), half rotation as transformers' `rotate_half`: in each head of
 * q and k element i < d/2 turns with element i + d/2 by the row's angle i, where cos and sin are (rows, d/2); elements
 * from d on stay. With `neighbors` element 2i turns with element 2i + 1. v comes along as a copy, so that one dispatch fills a layer's cache.
 * Queries may come alone, those of a layer that attends with the keys of another one: k and v are left out together.
 */
export const rope = defineOp({
  inputs: INPUTS,
  outputs: OUTPUTS,
})<RopeAttributes>({
  name: "rope",
  shape(inputs, { headSize }) {
    const { q, k, v, cos, sin } = inputs;
    const rows = [k, v, cos, sin].every((shape) => shape === undefined || shape[0] === q[0]);
    const isEither = (k === undefined) === (v === undefined);
    const heads = headSize % 4 === 0 && [q, k].every((shape) => shape === undefined || shape[1] % headSize === 0);
    const angles = cos[1] === sin[1] && 2 * cos[1] <= headSize;
    const rule = `heads of ${headSize}, a multiple of 4, and angles for half of each at most; one row a token`;
    requireShapes("rope", inputs, rows && isEither && heads && angles, rule);
    return { q: { shape: q }, k: k && { shape: k }, v: v && { shape: v } };
  },
  forward(run, { q, k, v, cos, sin }, attributes, to) {
    run.compute("rope", { ...attributes, cos, sin, from: { q, k, v }, to });
  },
  reference: turn,
  derivative: {
    saves: () => ["cos", "sin"],
    backward(run, { inputs: { cos, sin }, gradients, into }, attributes) {
      const parts = (["q", "k", "v"] as const).flatMap((name) => {
        const [gradient, target] = [gradients[name], into[name]];
        if (target === undefined) return [];
        if (gradient !== undefined) return [{ name, gradient, target }];
        recordZero(run, target);
        return [];
      });
      run.compute("ropeGradient", { ...attributes, cos, sin, parts });
    },
    gradient({ cos, sin }, attributes, gradients) {
      const back = { cos, sin: { shape: sin.shape, data: sin.data.map((value) => -value) } };
      return turn({ ...gradients, ...back }, attributes);
    },
  },
});

/** The definition: heads turn by the angles. */
function turn(
  { q, k, v, cos, sin }: Of<typeof INPUTS, Matrix>,
  { headSize, neighbors }: RopeAttributes,
): Of<typeof OUTPUTS, Matrix> {
  const half = cos.shape[1];
  const rotate = (x: Matrix) =>
    matrixOf(x.shape[0], x.shape[1], (row, col) => {
      const d = col % headSize;
      if (d >= 2 * half) return at(x, row, col);
      if (neighbors) {
        const angle = Math.floor(d / 2);
        const [partner, sign] = d % 2 === 0 ? [col + 1, -1] : [col - 1, 1];
        return at(x, row, col) * at(cos, row, angle) + sign * at(x, row, partner) * at(sin, row, angle);
      }
      if (d < half) return at(x, row, col) * at(cos, row, d) - at(x, row, col + half) * at(sin, row, d);
      return at(x, row, col) * at(cos, row, d - half) + at(x, row, col - half) * at(sin, row, d - half);
    });
  return { q: rotate(q), k: k && rotate(k), v };
}
