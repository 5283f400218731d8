// Cases of the ops of mixtures of experts: tokens that share experts, experts that nobody goes to, one token.
import type { StoredDtype } from "../../device/dtype.ts";
import { ids, type Operand, random } from "./case.ts";

/** Experts of tokens by a rule: all of a token different, below `experts`, some of which no token has. */
function chosen(tokens: number, each: number, experts: number): Operand {
  const data = Array.from({ length: tokens * each }, (_, pair) => {
    const token = Math.floor(pair / each);
    return ((token * token + 3) * 7 + (pair % each)) % experts;
  });
  return { dtype: "U32", matrix: { shape: [tokens, each], data: Float64Array.from(data) } };
}

/** A place for each of some pairs, neither in their order nor backwards. */
function placesOf(tokens: number, each: number): Operand {
  const count = tokens * each;
  const order = Array.from({ length: count }, (_, pair) => pair).toSorted(
    (left, right) => ((left * 13) % 17) - ((right * 13) % 17) || left - right,
  );
  const data = new Float64Array(count);
  order.forEach((pair, row) => (data[pair] = row));
  return { dtype: "U32", matrix: { shape: [tokens, each], data } };
}

/** `routerWeights`, over all experts and over those chosen, by a softmax and by the logistic function. */
function routing(tokens: number, experts: number, each: number) {
  return [false, true].flatMap((amongChosen) =>
    [false, true].map((logistic) => ({
      name: `${each} of ${experts}, ${tokens} tokens, ${logistic ? "logistic" : "softmax"} among ${amongChosen ? "those chosen" : "all"}`,
      inputs: { logits: random(tokens, experts, "F32", 4), experts: chosen(tokens, each, experts) },
      attributes: { amongChosen, logistic },
    })),
  );
}

/** `groupedLinear` with groups of these sizes. */
function grouped(
  sizes: readonly number[],
  inner: number,
  out: number,
  dtype: StoredDtype = "F32",
  rowsAtMost?: number,
) {
  const begins = sizes.reduce<number[]>((all, size) => [...all, (all.at(-1) ?? 0) + size], [0]);
  return {
    name: `rows ${sizes.join("+")}, ${inner}·${out}, ${dtype}${rowsAtMost === undefined ? "" : `, of ${rowsAtMost}`}`,
    inputs: {
      x: random(begins.at(-1) ?? 0, inner),
      weight: random(sizes.length * out, inner, dtype, 1 / Math.sqrt(inner)),
      begins: ids(...begins),
    },
    attributes: { rowsAtMost },
  };
}

/** The cases, by op. */
export function expertCases() {
  return {
    routerWeights: [
      ...routing(5, 8, 2),
      ...routing(1, 7, 3),
      ...routing(3, 300, 8),
      ...routing(130, 4, 2),
      ...routing(2, 6, 6),
    ],
    expertRows: [
      { name: "2 of 8", inputs: { experts: chosen(9, 2, 8) }, attributes: { experts: 8 } },
      { name: "one token", inputs: { experts: chosen(1, 3, 5) }, attributes: { experts: 5 } },
      { name: "several pairs a thread", inputs: { experts: chosen(301, 3, 64) }, attributes: { experts: 64 } },
      { name: "one expert", inputs: { experts: chosen(6, 1, 1) }, attributes: { experts: 1 } },
    ],
    spreadRows: [
      { name: "odd sizes", inputs: { x: random(5, 37), places: placesOf(5, 3) }, attributes: {} },
      { name: "one token, many columns", inputs: { x: random(1, 600), places: placesOf(1, 2) }, attributes: {} },
    ],
    mixRows: [
      {
        name: "odd sizes, residual",
        inputs: { x: random(15, 37), places: placesOf(5, 3), factors: random(5, 3), residual: random(5, 37) },
        attributes: { scale: 0.25 },
      },
      {
        name: "one token, many columns",
        inputs: { x: random(8, 1300), places: placesOf(1, 8), factors: random(1, 8), residual: undefined },
        attributes: { scale: 1 },
      },
    ],
    groupBias: [[1, 0, 3], [0, 2, 300, 0, 0, 1], [4], [2, 0, 1]].map((sizes, at) => {
      const begins = sizes.reduce<number[]>((all, size) => [...all, (all.at(-1) ?? 0) + size], [0]);
      const cols = [37, 70, 8, 1][at] ?? NaN;
      return {
        name: `rows ${sizes.join("+")}, ${cols} columns`,
        inputs: {
          x: random(begins.at(-1) ?? 0, cols),
          bias: random(1, sizes.length * cols),
          begins: ids(...begins),
        },
        attributes: {},
      };
    }),
    groupedLinear: [
      ...(["F32", "F16", "BF16"] as const).flatMap((dtype) => [
        grouped([1, 0, 1, 2], 37, 51, dtype),
        grouped([3, 0, 0, 70, 1], 44, 70, dtype),
        grouped([0, 65, 64], 300, 33, dtype),
      ]),
      ...(["Q8_0", "Q4_0", "MXFP4"] as const).flatMap((dtype) => [
        grouped([1, 0, 3], 96, 51, dtype),
        grouped([5, 70, 0, 2], 64, 40, dtype),
      ]),
      grouped([2, 0, 3], 37, 24, "F32", 8), // a small pass of a large batch, and a large one of a small batch
      grouped([1, 0, 1], 20, 9, "BF16", 1000),
      grouped([0, 0, 4], 600, 8), // one expert takes them all
    ],
  };
}
