import { uniform } from "../../kernels/parameters.ts";
import { ROPE_BACKWARD_KERNEL, ROPE_KERNEL } from "../../kernels/rope.ts";
import { recordZero } from "../fill.ts";
import { at, defineOp, type Matrix, matrixOf, type Of, requireShapes } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { whole } from "../row-blocks.ts";

export interface RopeAttributes {
  /** Elements of a head; a multiple of 4. */
  readonly headSize: number;
}

const INPUTS = { q: "needed", k: "needed", v: "needed", cos: "needed", sin: "needed" } as const;

/**
 * Rotary position embedding (Su et al., arXiv:2104.09864), half rotation as transformers' `rotate_half`: in each head of
 * q and k element i < d/2 turns with element i + d/2 by the row's angle i, where cos and sin are (rows, d/2); elements
 * from d on stay. v comes along as a copy, so that one dispatch fills a layer's cache.
 */
export const rope = defineOp({
  inputs: INPUTS,
  outputs: { q: "needed", k: "needed", v: "needed" },
})<RopeAttributes>({
  name: "rope",
  shape(inputs, { headSize }) {
    const { q, k, v, cos, sin } = inputs;
    const rows = [k, v, cos, sin].every((shape) => shape[0] === q[0]);
    const heads = headSize % 4 === 0 && q[1] % headSize === 0 && k[1] % headSize === 0;
    const angles = cos[1] === sin[1] && 2 * cos[1] <= headSize;
    const rule = `heads of ${headSize}, a multiple of 4, and angles for half of each at most; one row a token`;
    requireShapes("rope", inputs, rows && heads && angles, rule);
    return { q: { shape: q }, k: { shape: k }, v: { shape: v } };
  },
  forward(run, { q, k, v, cos, sin }, { headSize }, outputs) {
    const widths = [q, k, v].map((tensor) => Math.ceil(tensor.shape[1] / 4));
    const strides = [q, k, v, outputs.q, outputs.k, outputs.v].flatMap((tensor: Tensor) => [
      tensor.offset / 4,
      tensor.pitch / 4,
    ]);
    const sizes = [headSize / 4, cos.shape[1], ...widths, cos.offset / 4, cos.pitch / 4, 0];
    const buffers = [q, k, v, cos, sin, outputs.q, outputs.k, outputs.v].map((tensor) => whole(run, tensor));
    const width = widths.reduce((sum, value) => sum + value, 0);
    run.dispatch(ROPE_KERNEL, uniform(...sizes, ...strides), buffers, [Math.ceil(width / 64), q.shape[0]]);
  },
  reference: turn,
  derivative: {
    saves: () => ["cos", "sin"],
    backward(run, { inputs: { cos, sin }, gradients, into }, { headSize }) {
      const parts = (["q", "k", "v"] as const).flatMap((name) => {
        const [gradient, target] = [gradients[name], into[name]];
        if (target === undefined) return [];
        if (gradient !== undefined) return [{ name, gradient, target }];
        recordZero(run, target);
        return [];
      });
      // One dispatch for those that are views of one buffer.
      for (const [, group] of Map.groupBy(parts, ({ target }) => target.buffer)) {
        const part = (name: "q" | "k" | "v") => group.find((part) => part.name === name);
        const three = [part("q"), part("k"), part("v")];
        const widths = three.map((part) => (part === undefined ? 0 : Math.ceil(part.target.shape[1] / 4)));
        const places = (tensor: Tensor | undefined) => [(tensor?.offset ?? 0) / 4, (tensor?.pitch ?? 0) / 4];
        run.dispatch(
          ROPE_BACKWARD_KERNEL,
          uniform(
            headSize / 4,
            cos.shape[1],
            ...widths,
            cos.offset / 4,
            cos.pitch / 4,
            0,
            ...three.flatMap((part) => places(part?.gradient)),
            ...three.flatMap((part) => places(part?.target)),
          ),
          [...three.map((part) => part?.gradient), cos, sin, group[0]?.target].map((tensor) =>
            tensor === undefined ? run.nothing : whole(run, tensor),
          ),
          [Math.ceil(widths.reduce((sum, width) => sum + width, 0) / 64), cos.shape[0]],
        );
      }
    },
    gradient({ cos, sin }, attributes, gradients) {
      const back = { cos, sin: { shape: sin.shape, data: sin.data.map((value) => -value) } };
      return turn({ ...gradients, ...back }, attributes);
    },
  },
});

/** The definition: heads turn by the angles. */
function turn({ q, k, v, cos, sin }: Of<typeof INPUTS, Matrix>, { headSize }: RopeAttributes) {
  const half = cos.shape[1];
  const rotate = (x: Matrix) =>
    matrixOf(x.shape[0], x.shape[1], (row, col) => {
      const d = col % headSize;
      if (d >= 2 * half) return at(x, row, col);
      if (d < half) return at(x, row, col) * at(cos, row, d) - at(x, row, col + half) * at(sin, row, d);
      return at(x, row, col) * at(cos, row, d - half) + at(x, row, col - half) * at(sin, row, d - half);
    });
  return { q: rotate(q), k: rotate(k), v };
}
