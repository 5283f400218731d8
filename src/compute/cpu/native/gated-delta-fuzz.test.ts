// The gated delta rule and its gradients by chunks, on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { GATED_DELTA, GATED_DELTA_GRADIENT, MOST_CHUNK, MOST_SIZE } from "../families/gated-delta.ts";
import { fuzz, type Operands, type Trial } from "./testing/trial.ts";

const upTo = (max: number) => fc.integer({ min: 1, max });
const size = fc.oneof(upTo(5), fc.constant(MOST_SIZE / 4)).map((fours) => 4 * fours);

const rules = fc.record({
  tokens: upTo(100),
  keyHeads: upTo(2),
  served: upTo(2),
  keySize: size,
  valueSize: size,
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
  const decays = placed.matrix(1, 2 * heads).at;
  const first = text === 0 ? 0 : placed.list(tokens, (token) => token - (token % text));
  const states = placed.matrix(Math.ceil((firstPosition + tokens) / block), heads * valueSize * keySize);
  const kept = { states: states.at, statesPitch: states.pitch };
  const sizes = { tokens, heads, keyHeads, keySize, valueSize, block, firstPosition };
  return { states, values: { ...sizes, ...read, ...kept, decays, first }, width: heads * valueSize };
}

function forward(placed: Operands, shape: Shape): Trial {
  const isOne = shape.text === 0;
  // The cache's blocks are longer than those that gradients begin from.
  const { states, values, width } = given(
    placed,
    { ...shape, block: isOne ? 4 * shape.block : shape.block },
    isOne ? shape.before : 0,
  );
  const y = placed.matrix(shape.tokens, width, "F32", 0);
  const kernels = { kernel: GATED_DELTA, plain: GATED_DELTA };
  const results = [y, states];
  return {
    ...kernels,
    values: { ...values, y: y.at, yPitch: y.pitch },
    pieces: values.heads,
    results,
    // The same bits, so that a prompt has those of its tokens one by one.
    tolerance: 0,
  };
}

function gradients(placed: Operands, shape: Shape): Trial {
  const { values, width } = given(placed, shape);
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
  const kernels = { kernel: GATED_DELTA_GRADIENT, plain: GATED_DELTA_GRADIENT };
  const results = [dqk, dv, dgates];
  return { ...kernels, values: { ...values, ...places }, pieces: keyHeads, results, tolerance: 1e-4 };
}

test("the gated delta rule of any shape, texts and decays", () => fuzz(rules, forward), 60_000);
test("gradients of the gated delta rule of any shape, texts and decays", () => fuzz(rules, gradients), 60_000);
