import type { CacheFilling, Rope, RopeGradient } from "../../device/families/attention.ts";
import type { Tensor } from "../../device/tensor.ts";
import { kvDtype } from "../../device/weight.ts";
import { ROPE_BACKWARD_KERNEL, ROPE_KERNEL, ROPE_QUERIES_KERNEL, ropeHeadsKernel } from "../kernels/rope.ts";
import type { Dispatcher } from "../context.ts";

export function rope(on: Dispatcher, { headSize, neighbors, cos, sin, from: { q, k, v }, to }: Rope): void {
  const [qWidth, kWidth, vWidth] = [widthOf(q), widthOf(k), widthOf(v)];
  const results = k === undefined ? [to.q] : [to.q, to.k, to.v];
  on.dispatch(
    k === undefined ? ROPE_QUERIES_KERNEL : ROPE_KERNEL,
    {
      head: headSize,
      half: cos.shape[1],
      qWidth,
      kWidth,
      vWidth,
      neighbors,
      angle: cos,
      q,
      k,
      v,
      qTo: to.q,
      kTo: to.k,
      vTo: to.v,
    },
    [q, k, v, cos, sin, ...results],
    [Math.ceil((qWidth + kWidth + vWidth) / 64), q.shape[0]],
  );
}

export function fillCache(on: Dispatcher, operands: CacheFilling): void {
  const { headSize, neighbors, qkv, keys, values, cos, sin, norms, rows } = operands;
  const kvHeads = keys.shape[1] / headSize;
  const heads = qkv.shape[1] / headSize - 2 * kvHeads;
  const from = (head: number) => ({ ...qkv, offset: qkv.offset + head * headSize });
  on.dispatch(
    ropeHeadsKernel(norms !== undefined, kvDtype("filling a cache", keys, headSize)),
    {
      head: headSize,
      half: cos.shape[1],
      qHeads: heads,
      kvHeads,
      angle: cos,
      q: from(0),
      k: from(heads),
      v: from(heads + kvHeads),
      kTo: keys,
      vTo: values,
      qWeightAt: norms?.q.offset ?? 0,
      kWeightAt: norms?.k.offset ?? 0,
      offset: norms?.offset ?? 0,
      epsilon: norms?.epsilon ?? 0,
      neighbors,
      byIndex: rows !== undefined,
      rowsAt: rows?.offset ?? 0,
    },
    [qkv, cos, sin, rows, keys, values, ...(norms === undefined ? [] : [norms.q, norms.k])],
    [heads + 2 * kvHeads, qkv.shape[0]],
  );
}

export function ropeGradient(on: Dispatcher, { headSize, neighbors, cos, sin, parts }: RopeGradient): void {
  // One dispatch for those that are views of one buffer.
  for (const [, group] of Map.groupBy(parts, ({ target }) => target.buffer)) {
    const part = (name: "q" | "k" | "v") => group.find((part) => part.name === name);
    const [q, k, v] = [part("q"), part("k"), part("v")];
    const [qWidth, kWidth, vWidth] = [widthOf(q?.target), widthOf(k?.target), widthOf(v?.target)];
    on.dispatch(
      ROPE_BACKWARD_KERNEL,
      {
        head: headSize,
        half: cos.shape[1],
        qWidth,
        kWidth,
        vWidth,
        neighbors,
        angle: cos,
        q: q?.gradient,
        k: k?.gradient,
        v: v?.gradient,
        qTo: q?.target,
        kTo: k?.target,
        vTo: v?.target,
      },
      [q?.gradient, k?.gradient, v?.gradient, cos, sin, group[0]?.target],
      [Math.ceil((qWidth + kWidth + vWidth) / 64), cos.shape[0]],
    );
  }
}

/** Vectors of 4 in a row; none of what is left out. */
function widthOf(tensor: Tensor | undefined): number {
  return Math.ceil((tensor?.shape[1] ?? 0) / 4);
}
