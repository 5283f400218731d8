import { at, type Matrix, type Of, zeros } from "../op.ts";
import type { AttentionAttributes } from "./attention-attributes.ts";

interface Inputs {
  readonly q: Matrix;
  readonly keys: Matrix;
  readonly values: Matrix;
  readonly first: Matrix | undefined;
  readonly last: Matrix | undefined;
  readonly sinks: Matrix | undefined;
}

/** One token and head: its first column in q, that of its kv head, and its weights for keys `first`, `first` + 1, … */
interface Row {
  readonly token: number;
  readonly head: number;
  readonly query: number;
  readonly kv: number;
  readonly first: number;
  readonly scores: readonly number[];
  readonly weights: readonly number[];
  readonly lse: number;
}

/** Attention by its definition. */
export function referenceAttention(inputs: Inputs, attributes: AttentionAttributes) {
  const { headSize, lse } = attributes;
  const [tokens, cols] = inputs.q.shape;
  const y = zeros(tokens, cols);
  const sums = zeros(tokens, cols / headSize);
  for (const row of rows(inputs, attributes)) {
    sums.data[row.token * sums.shape[1] + row.head] = row.lse;
    for (let d = 0; d < headSize; d++) {
      let sum = 0;
      row.weights.forEach((weight, n) => (sum += weight * at(inputs.values, row.first + n, row.kv + d)));
      add(y, row.token, row.query + d, sum);
    }
  }
  return { y, lse: lse === true ? sums : undefined };
}

/** Its derivatives: of weights p by scores s is p (δ − p), of y by values is p. */
export function referenceAttentionGradients(
  inputs: Inputs,
  attributes: AttentionAttributes,
  gradients: Of<{ y: "needed"; lse: "optional" }, Matrix>,
) {
  const { q, keys, values, sinks } = inputs;
  const { headSize, scale, softcap } = attributes;
  const [dq, dKeys, dValues] = [q, keys, values].map(({ shape }) => zeros(...shape)) as [Matrix, Matrix, Matrix];
  const dSinks = sinks && zeros(...sinks.shape);
  for (const { token, head, query, kv, first, scores, weights, lse } of rows(inputs, attributes)) {
    const elements = Array.from({ length: headSize }, (_, d) => d);
    const dy = part(gradients.y, token, query, headSize);
    const byWeight = weights.map((_, n) => dot(dy, part(values, first + n, kv, headSize)));
    const mean = total(weights.map((weight, n) => weight * (byWeight[n] ?? NaN)));
    const bySum = gradients.lse === undefined ? 0 : at(gradients.lse, token, head);
    if (sinks && dSinks) add(dSinks, 0, head, Math.exp(at(sinks, 0, head) - lse) * (bySum - mean));
    weights.forEach((weight, n) => {
      const bend = softcap === undefined ? 1 : 1 - ((scores[n] ?? NaN) / softcap) ** 2;
      const slope = scale * bend * weight * ((byWeight[n] ?? NaN) - mean + bySum);
      for (const d of elements) {
        add(dq, token, query + d, slope * at(keys, first + n, kv + d));
        add(dKeys, first + n, kv + d, slope * at(q, token, query + d));
        add(dValues, first + n, kv + d, weight * at(gradients.y, token, query + d));
      }
    });
  }
  return { q: dq, keys: dKeys, values: dValues, sinks: dSinks };
}

function* rows({ q, keys, sinks, ...seen }: Inputs, attributes: AttentionAttributes): Generator<Row> {
  const { headSize, firstPosition, scale, window, softcap } = attributes;
  const group = q.shape[1] / keys.shape[1];
  for (let token = 0; token < q.shape[0]; token++) {
    const last = seen.last === undefined ? firstPosition + token : at(seen.last, 0, token);
    const first = Math.max(0, last - window + 1, seen.first === undefined ? 0 : at(seen.first, 0, token));
    for (let head = 0; head < q.shape[1] / headSize; head++) {
      const [query, kv] = [head * headSize, Math.floor(head / group) * headSize];
      const row = part(q, token, query, headSize);
      const scores = Array.from({ length: last - first + 1 }, (_, n) => {
        const score = scale * dot(row, part(keys, first + n, kv, headSize));
        return softcap === undefined ? score : softcap * Math.tanh(score / softcap);
      });
      const all = sinks === undefined ? scores : [...scores, at(sinks, 0, head)];
      const top = Math.max(...all);
      const lse = top + Math.log(total(all.map((score) => Math.exp(score - top))));
      yield { token, head, query, kv, first, scores, weights: scores.map((score) => Math.exp(score - lse)), lse };
    }
  }
}

function add(matrix: Matrix, row: number, col: number, value: number): void {
  const index = row * matrix.shape[1] + col;
  matrix.data[index] = (matrix.data[index] ?? NaN) + value;
}

/** Elements of a row. */
function part({ shape, data }: Matrix, row: number, first: number, count: number): Float64Array {
  return data.subarray(row * shape[1] + first, row * shape[1] + first + count);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let n = 0; n < a.length; n++) sum += (a[n] ?? NaN) * (b[n] ?? NaN);
  return sum;
}

function total(terms: readonly number[]): number {
  return terms.reduce((sum, term) => sum + term, 0);
}
