import { uniform } from "../../kernels/parameters.ts";
import { ROPE_KERNEL } from "../../kernels/rope.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";
import { whole } from "../run.ts";
import type { Tensor } from "../tensor.ts";

export interface RopeAttributes {
  /** Elements of a head; a multiple of 4. */
  readonly headSize: number;
}

/**
 * Rotary position embedding (Su et al., arXiv:2104.09864), half rotation as transformers' `rotate_half`: in each head of
 * q and k element i < d/2 turns with element i + d/2 by the row's angle i, where cos and sin are (rows, d/2); elements
 * from d on stay. v comes along as a copy, so that one dispatch fills a layer's cache.
 */
export const rope = defineOp({
  inputs: { q: "needed", k: "needed", v: "needed", cos: "needed", sin: "needed" },
  outputs: { q: "needed", k: "needed", v: "needed" },
})<RopeAttributes>({
  name: "rope",
  shape(inputs, { headSize }) {
    const { q, k, v, cos, sin } = inputs;
    const rows = [k, v, cos, sin].every((shape) => shape[0] === q[0]);
    const heads = headSize % 4 === 0 && q[1] % headSize === 0 && k[1] % headSize === 0;
    const angles = cos[1] === sin[1] && cos[1] % 4 === 0 && 2 * cos[1] <= headSize;
    const rule = `heads of ${headSize} and angles for half of each, multiples of 4; one row a token`;
    requireShapes("rope", inputs, rows && heads && angles, rule);
    return { q: { shape: q }, k: { shape: k }, v: { shape: v } };
  },
  forward(run, { q, k, v, cos, sin }, { headSize }, outputs) {
    const widths = [q, k, v].map((tensor) => Math.ceil(tensor.shape[1] / 4));
    const strides = [q, k, v, outputs.q, outputs.k, outputs.v].flatMap((tensor: Tensor) => [
      tensor.offset / 4,
      tensor.pitch / 4,
    ]);
    const sizes = [headSize / 4, cos.shape[1] / 4, ...widths, cos.offset / 4, cos.pitch / 4, 0];
    const buffers = [q, k, v, cos, sin, outputs.q, outputs.k, outputs.v].map((tensor) => whole(run, tensor));
    const width = widths.reduce((sum, value) => sum + value, 0);
    run.dispatch(ROPE_KERNEL, uniform(...sizes, ...strides), buffers, [Math.ceil(width / 64), q.shape[0]]);
  },
  reference({ q, k, v, cos, sin }, { headSize }) {
    const half = cos.shape[1];
    const rotate = (x: Matrix) =>
      matrixOf(x.shape[0], x.shape[1], (row, col) => {
        const d = col % headSize;
        if (d >= 2 * half) return at(x, row, col);
        if (d < half) return at(x, row, col) * at(cos, row, d) - at(x, row, col + half) * at(sin, row, d);
        return at(x, row, col) * at(cos, row, d - half) + at(x, row, col - half) * at(sin, row, d - half);
      });
    return { q: rotate(q), k: rotate(k), v };
  },
});
