import { add, div, max, mean, mul, type Node, plusAll, root, rows, sub, unless, within } from "./language.ts";

/** 1 / √(mean(x²) + ε). */
const inverse = (x: Node, epsilon: Node): Node => div(1, root(add(mean(mul(x, x)), epsilon)));

/**
 * y = x / √(mean(x²) + ε) · (offset + weight) (Zhang and Sennrich, arXiv:1910.07467): each segment of a row, a head for example, is
 * normalized by itself. The offset is 1 where the checkpoint stores weight − 1 (Gemma), else 0.
 */
export const rmsNorm = rows({
  name: "rms-norm",
  inputs: ["x", "weight"],
  shared: ["weight"],
  parameters: ["epsilon", "offset"],
  value: ({ x, weight, epsilon, offset }) => mul(mul(x, inverse(x, epsilon)), add(offset, weight)),
  gradient({ x, weight, epsilon, offset, dy }) {
    const scale = inverse(x, epsilon);
    const h = mul(dy, add(offset, weight));
    const along = mul(mul(mean(mul(x, h)), scale), scale);
    return { x: mul(scale, sub(h, mul(x, along))), weight: mul(mul(x, scale), dy) };
  },
  cases: [
    { sizes: [1, 1], shape: [5, 37], numbers: { epsilon: 1e-5, offset: 0 } },
    { sizes: [1, 1], shape: [2, 72], numbers: { epsilon: 1e-6, offset: 1 } },
    { sizes: [1e-3, 1], shape: [1, 576], numbers: { epsilon: 1e-5, offset: 0 } },
    { sizes: [1, 1], shape: [3, 8], segments: 3, numbers: { epsilon: 1e-6, offset: 0 } },
    { sizes: [1, 1], shape: [2, 1030], numbers: { epsilon: 1e-6, offset: 0 } },
  ],
});

/** (x − mean) / √(variance + ε), and its factor. Differences are squared: E[x²] − mean² would lose what large numbers have in common. */
function normalized(x: Node, epsilon: Node): { normed: Node; scale: Node } {
  const difference = sub(x, mean(x));
  const inside = within(difference);
  const scale = div(1, root(add(mean(mul(inside, inside)), epsilon)));
  return { normed: mul(difference, scale), scale };
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias, with the variance of all elements as a population's (Ba, Kiros and Hinton,
 * arXiv:1607.06450).
 */
export const layerNorm = rows({
  name: "layer-norm",
  inputs: ["x", "weight", "bias"],
  shared: ["weight", "bias"],
  optional: ["bias"],
  parameters: ["epsilon"],
  value: ({ x, weight, bias, epsilon }) => plusAll(mul(normalized(x, epsilon).normed, weight), bias),
  gradient({ x, weight, epsilon, dy }) {
    const { normed, scale } = normalized(x, epsilon);
    const h = mul(dy, weight);
    const rest = sub(sub(h, mean(h)), mul(normed, mean(mul(h, normed))));
    return { x: within(mul(scale, rest)), weight: mul(dy, normed), bias: dy };
  },
  cases: [
    { sizes: [1, 1, 1], shape: [5, 37], numbers: { epsilon: 1e-5 } },
    { sizes: [1, 1], shape: [300, 8], without: ["bias"], numbers: { epsilon: 1e-6 } },
    { sizes: [1, 1, 1], shape: [2, 770], around: { x: 50 }, numbers: { epsilon: 1e-5 } },
    { sizes: [1, 1, 1], shape: [2, 1030], numbers: { epsilon: 1e-5 } },
  ],
});

/** No root of less than 0, whose bits differ between processors. */
const norm = (square: Node): Node => root(max(square, 0));
const overNorms = (x: Node, a: Node, b: Node, least: Node): Node =>
  div(x, mul(max(norm(a), least), max(norm(b), least)));

/** y = x / (max(√a, least) · max(√b, least)), a and b being squared norms. */
export const dividedByNorms = rows({
  name: "divided-by-norms",
  inputs: ["x", "a", "b"],
  parameters: ["least"],
  value: ({ x, a, b, least }) => overNorms(x, a, b, least),
  gradient({ a, b, y, dy, least }) {
    const slope = (of: Node): Node => unless(div(mul(dy, y), mul(-2, of)), norm(of), least);
    return { x: overNorms(dy, a, b, least), a: slope(a), b: slope(b) };
  },
  cases: [
    { sizes: [1, 1, 1], around: { a: 1.5, b: 3 }, numbers: { least: 1.3 } },
    { sizes: [1, 1, 0.01], around: { a: 2, b: 0.02 }, shape: [1, 8], numbers: { least: 0.3 } },
  ],
});
