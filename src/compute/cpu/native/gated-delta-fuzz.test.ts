// The gated delta rule and its gradients by chunks, on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { GATED_DELTA, GATED_DELTA_GRADIENT, MOST_CHUNK, MOST_SIZE } from "../families/gated-delta.ts";
import { at, matrixOf, zeros } from "../../tensor/op.ts";
import { OPS } from "../../tensor/ops/index.ts";
import { fuzz, laid, type Operands, type Trial } from "./testing/trial.ts";

const upTo = (max: number) => fc.integer({ min: 1, max });
const small = upTo(5).map((fours) => 4 * fours);
const size = fc.oneof({ weight: 8, arbitrary: small }, { weight: 1, arbitrary: fc.constant(MOST_SIZE) });

const rules = fc.record({
  tokens: upTo(100),
  keyHeads: upTo(2),
  served: upTo(2),
  keySize: size,
  valueSize: small,
  block: fc.constantFrom(16, 32, MOST_CHUNK),
  /** Tokens of a text that were in passes before, where all are one. */
  before: fc.oneof(fc.constant(0), upTo(300)),
  /** Tokens of a text; 0: all are one. */
  text: fc.oneof(fc.constant(0), upTo(70)),
  /** Of gates: what is left of a state is between nearly all and nothing. */
  spread: fc.constantFrom(1, 4, 200),
});

type Shape = typeof rules extends fc.Arbitrary<infer T> ? T : never;

/** What both directions have in common. */
function given(placed: Operands, shape: Shape, firstPosition = 0) {
  const { tokens, keyHeads, served, keySize, valueSize, block, text, spread } = shape;
  const heads = keyHeads * served;
  const sized = (rows: number, cols: number, by: number) => {
    const matrix = placed.matrix(rows, cols);
    for (let at = matrix.at / 4; at < (matrix.at + matrix.bytes) / 4; at++) {
      placed.heap.floats[at] = (placed.heap.floats[at] ?? 0) * by;
    }
    return matrix;
  };
  // Keys no longer than 1, so that states stay small.
  const qk = sized(tokens, 2 * keyHeads * keySize, 1 / Math.sqrt(keySize));
  const v = placed.matrix(tokens, heads * valueSize);
  const gates = sized(tokens, 2 * heads, spread);
  const read = { qk: qk.at, qkPitch: qk.pitch, v: v.at, vPitch: v.pitch, gates: gates.at, gatesPitch: gates.pitch };
  const decays = placed.matrix(1, 2 * heads);
  const first = text === 0 ? 0 : placed.list(tokens, (token) => token - (token % text));
  const states = placed.matrix(Math.ceil((firstPosition + tokens) / block), heads * valueSize * keySize);
  const kept = placed.numbers(states, states.bytes / states.pitch, heads * valueSize * keySize);
  const sizes = { tokens, heads, keyHeads, keySize, valueSize, block, firstPosition };
  const inputs = {
    qk: placed.numbers(qk, tokens, 2 * keyHeads * keySize),
    v: placed.numbers(v, tokens, heads * valueSize),
    gates: placed.numbers(gates, tokens, 2 * heads),
    decays: placed.numbers(decays, 1, 2 * heads),
    first: text === 0 ? undefined : matrixOf(1, tokens, (_, token) => token - (token % text)),
  };
  const places = { states: states.at, statesPitch: states.pitch, decays: decays.at, first };
  return { inputs, kept, states, values: { ...sizes, ...read, ...places }, width: heads * valueSize };
}

/** Results of the rule in f64, and its states, kept in rows of `states`. */
function walk({ inputs: { qk, v, gates, decays, first }, kept, values, width }: ReturnType<typeof given>) {
  const { heads, keyHeads, keySize, valueSize, tokens, block, firstPosition } = values;
  const [y, states] = [zeros(tokens, width), matrixOf(...kept.shape, (row, col) => at(kept, row, col))];
  const bytes = valueSize * keySize;
  for (let head = 0; head < heads; head++) {
    const place = (row: number) => (Math.floor(row / block) * heads + head) * bytes;
    const begin = firstPosition === 0 ? 0 : place(firstPosition - 1);
    const state = states.data.slice(begin, begin + bytes);
    for (let token = 0; token < tokens; token++) {
      const row = firstPosition + token;
      if (row === (first === undefined ? 0 : at(first, 0, token))) state.fill(0);
      const x = at(gates, token, heads + head) + at(decays, 0, heads + head);
      const left = Math.exp(-Math.exp(at(decays, 0, head)) * Math.log1p(Math.exp(x)));
      const beta = 1 / (1 + Math.exp(-at(gates, token, head)));
      const from = token * 2 * keyHeads * keySize + Math.floor((head * keyHeads) / heads) * keySize;
      const q = qk.data.subarray(from, from + keySize);
      const k = qk.data.subarray(from + keyHeads * keySize, from + (keyHeads + 1) * keySize);
      for (let j = 0; j < valueSize; j++) {
        const own = state.subarray(j * keySize, (j + 1) * keySize);
        let [known, sum] = [0, 0];
        for (let i = 0; i < keySize; i++) known += (own[i] ?? 0) * (k[i] ?? 0);
        const by = beta * (at(v, token, head * valueSize + j) - left * known);
        for (let i = 0; i < keySize; i++) {
          own[i] = left * (own[i] ?? 0) + by * (k[i] ?? 0);
          sum += (own[i] ?? 0) * (q[i] ?? 0);
        }
        y.data[token * width + head * valueSize + j] = sum / Math.sqrt(keySize);
      }
      if ((row + 1) % block === 0 || token + 1 === tokens) states.data.set(state, place(row));
    }
  }
  return { y, states };
}

function forward(placed: Operands, shape: Shape): Trial {
  const isOne = shape.text === 0;
  // The cache's blocks are longer than those that gradients begin from.
  const block = isOne ? 4 * shape.block : shape.block;
  const all = given(placed, { ...shape, block }, isOne ? shape.before : 0);
  const { states, values, width } = all;
  const y = placed.matrix(shape.tokens, width, "F32", 0);
  const expected = () => {
    const found = walk(all);
    return [laid(found.y, y), laid(found.states, states)];
  };
  const words = { ...values, y: y.at, yPitch: y.pitch };
  return { kernel: GATED_DELTA, expected, values: words, pieces: values.heads, results: [y, states], tolerance: 1e-4 };
}

function gradients(placed: Operands, shape: Shape): Trial {
  const all = given(placed, shape);
  const { values, states, width, inputs } = all;
  placed.heap.floats.set(laid(walk(all).states, states), states.at / 4);
  const { tokens, keyHeads, keySize } = shape;
  const dy = placed.matrix(tokens, width);
  const [dqk, dv, dgates] = [
    placed.matrix(tokens, 2 * keyHeads * keySize, "F32", 0),
    placed.matrix(tokens, width, "F32", 0),
    placed.matrix(tokens, 2 * values.heads, "F32", 0),
  ];
  const places = {
    dy: dy.at,
    dyPitch: dy.pitch,
    dqk: dqk.at,
    dqkPitch: dqk.pitch,
    dv: dv.at,
    dvPitch: dv.pitch,
    dgates: dgates.at,
    dgatesPitch: dgates.pitch,
  };
  const { derivative } = OPS.gatedDelta;
  if (derivative === "constant") throw new TypeError("a rule without gradients");
  const slopes = placed.numbers(dy, tokens, width);
  const expected = () => {
    const found = derivative.gradient(inputs, { keyHeads }, { y: slopes });
    return [laid(found.qk ?? slopes, dqk), laid(found.v ?? slopes, dv), laid(found.gates ?? slopes, dgates)];
  };
  const results = [dqk, dv, dgates];
  return {
    kernel: GATED_DELTA_GRADIENT,
    expected,
    values: { ...values, ...places },
    pieces: keyHeads,
    results,
    tolerance: 1e-4,
  };
}

/** Either way around: large states take f64 long. */
const turned = fc.tuple(rules, fc.boolean()).map(([shape, isTurned]): Shape => {
  const { keySize, valueSize } = shape;
  return isTurned ? { ...shape, keySize: valueSize, valueSize: keySize } : shape;
});
const sizes = { keySize: MOST_SIZE, valueSize: MOST_SIZE, keyHeads: 1, served: 1 } as const;
const largest = fc.constant<Shape>({ ...sizes, tokens: 3, block: 2, before: 3, text: 0, spread: 1 });

test("the gated delta rule of any shape, texts and decays", () => fuzz(turned, forward), 60_000);
test("gradients of the gated delta rule of any shape, texts and decays", () => fuzz(turned, gradients, 30), 60_000);
test("heads of the largest size", () => {
  fuzz(largest, forward, 1);
  fuzz(largest, gradients, 1);
});
