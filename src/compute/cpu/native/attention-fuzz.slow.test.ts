// Attention and its gradients on shapes that nobody chose.
import { test } from "bun:test";
import fc from "fast-check";
import { chunkRows, KEYS, QUERIES } from "../families/attention-gradient.ts";
import { ATTENTION, chunkKeys, MOST_PAIRS } from "../families/attention.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { DTYPE_CODES } from "../../device/dtype.ts";
import type { Stored } from "./machine.ts";
import { bitsOf } from "./routines/functions.ts";
import { at, matrixOf } from "../../tensor/op.ts";
import { referenceAttention, referenceAttentionGradients } from "../../tensor/ops/attention-reference.ts";
import { fuzz, laid, type Operands, type Trial } from "./testing/trial.ts";

const upTo = (max: number) => fc.integer({ min: 1, max });

const shapes = fc.record({
  tokens: fc.oneof(upTo(3), upTo(40)),
  /** Keys of a cache, before those of the tokens. */
  before: fc.oneof(fc.constant(0), upTo(40), fc.integer({ min: 240, max: 530 })),
  group: upTo(5),
  kvHeads: upTo(3),
  fours: fc.oneof({ weight: 6, arbitrary: upTo(10) }, { weight: 1, arbitrary: fc.integer({ min: 60, max: 128 }) }),
  cap: fc.constantFrom(0, 1.5),
  window: fc.oneof(fc.constant(0x7fffffff), upTo(300)),
  /** Tokens of a sequence, which follow one another; 0: all are one. */
  sequence: fc.oneof(fc.constant(0), upTo(20)),
});

type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

/** Where heads are large, there is one that has keys. */
const attended = shapes.map((shape) => (shape.fours <= 10 ? shape : { ...shape, kvHeads: 1 }));

/** What all three have in common: operands, and the keys that each token sees. */
function given(
  placed: Operands,
  { tokens, before, group, kvHeads, fours, cap, window, sequence }: Shape,
  stored: Stored = "F32",
) {
  const [heads, head, positions] = [group * kvHeads, fours * 4, before + tokens];
  const [q, keys, values] = [
    placed.matrix(tokens, heads * head),
    placed.matrix(positions, kvHeads * head, stored),
    placed.matrix(positions, kvHeads * head, stored),
  ];
  const kv = (matrix: typeof keys) => placed.numbers(matrix, positions, kvHeads * head, stored);
  const first = (token: number) => (sequence === 0 ? 0 : token - (token % sequence));
  const last = (token: number) => before + token;
  const words = {
    tokens,
    heads,
    kvHeads,
    group,
    head,
    firstPosition: before,
    window,
    scale: bitsOf(1 / 2),
    cap: bitsOf(cap),
    q: q.at,
    qPitch: q.pitch,
    keys: keys.at,
    keysPitch: keys.pitch,
    values: values.at,
    valuesPitch: values.pitch,
    firsts: sequence === 0 ? 0 : placed.list(tokens, first),
    lasts: sequence === 0 ? 0 : placed.list(tokens, last),
  };
  const ids = (of: (token: number) => number) => matrixOf(1, tokens, (_, token) => of(token));
  const inputs = {
    q: placed.numbers(q, tokens, heads * head),
    keys: kv(keys),
    values: kv(values),
    first: ids(first),
    last: ids(last),
    sinks: undefined,
  };
  const softcap = cap === 0 ? undefined : cap;
  const attributes = { headSize: head, firstPosition: before, window, scale: 1 / 2, softcap, lse: true };
  const seen = { first: (token: number) => Math.max(first(token), last(token) + 1 - window), last };
  return { words, inputs, attributes, seen, positions, head, heads };
}

function attention(placed: Operands, shape: Shape & { readonly inParts: boolean; readonly stored: Stored }): Trial {
  const { words, inputs, attributes, positions, head, heads } = given(placed, shape, shape.stored);
  const { tokens, group, kvHeads, inParts } = shape;
  const [y, lse] = [placed.matrix(tokens, heads * head, "F32", 0), placed.matrix(tokens, heads, "F32", 0)];
  const chunks = Math.ceil(positions / chunkKeys(head));
  const parts = inParts ? Math.ceil(chunks / 2) : 1;
  const record = 4 + Math.ceil(head / 8) * 8;
  const records = placed.matrix(tokens * heads * chunks, record);
  const pieceTokens = Math.min(tokens, Math.floor(MOST_PAIRS / group));
  const pieces = Math.ceil(tokens / pieceTokens) * kvHeads * parts;
  const results = { y: y.at, yPitch: y.pitch, lse: lse.at, lsePitch: lse.pitch };
  const cut = { pieceTokens, pieceHeads: group, headBlocks: 1, parts, chunks, recordBytes: record * 4, pieces };
  const values = {
    ...words,
    ...results,
    ...cut,
    dtype: DTYPE_CODES[shape.stored],
    records: parts === 1 ? 0 : records.at,
  };
  const expected = () => {
    const { y: found, lse: sums } = referenceAttention(inputs, attributes);
    return [laid(found, y), laid(sums ?? found, lse)];
  };
  // Token by token.
  const apart = tokens * kvHeads * parts;
  const again = { values: { ...values, pieceTokens: 1, pieces: apart }, pieces: apart };
  return { kernel: ATTENTION, expected, values, pieces, again, results: [y, lse], tolerance: 1e-4 };
}

const PIECE_ROWS = 32;

function gradient(of: CpuKernel<Members>) {
  return (placed: Operands, shape: Shape): Trial => {
    const { words, inputs, attributes, seen, positions, head, heads } = given(placed, shape);
    const { tokens, kvHeads } = shape;
    const [dy, dq] = [placed.matrix(tokens, heads * head), placed.matrix(tokens, heads * head, "F32", 0)];
    const [dkeys, dvalues] = [
      placed.matrix(positions, kvHeads * head, "F32", 0),
      placed.matrix(positions, kvHeads * head, "F32", 0),
    ];
    const slopes = placed.numbers(dy, tokens, heads * head);
    // Of each head lse and dy · y; nobody stands behind the last token.
    const stats = placed.matrix(2 + 2 * heads, tokens, "F32", 0);
    const rows = placed.heap.words();
    const { y, lse = y } = referenceAttention(inputs, attributes);
    for (let token = 0; token < tokens; token++) {
      for (let of = 0; of < heads; of++) {
        const begin = (token * heads + of) * head;
        const rest = y.data
          .subarray(begin, begin + head)
          .reduce((sum, value, d) => sum + value * at(slopes, token, of * head + d), 0);
        const place = (row: number) => (stats.at + (2 + 2 * of + row) * stats.pitch) / 4 + token;
        placed.heap.floats[place(0)] = at(lse, token, of);
        placed.heap.floats[place(1)] = rest;
      }
    }
    for (let token = 0; token < stats.pitch / 4; token++) {
      rows[stats.at / 4 + token] = token < tokens ? seen.first(token) : 0x7fffffff;
      rows[(stats.at + stats.pitch) / 4 + token] = token < tokens ? seen.last(token) : 0;
    }
    const values = {
      ...words,
      positions,
      dy: dy.at,
      dyPitch: dy.pitch,
      stats: stats.at,
      statsPitch: stats.pitch,
      dq: dq.at,
      dqPitch: dq.pitch,
      dkeys: dkeys.at,
      dkeysPitch: dkeys.pitch,
      dvalues: dvalues.at,
      dvaluesPitch: dvalues.pitch,
      pieceRows: PIECE_ROWS,
      chunk: chunkRows(head),
    };
    const isQueries = of === QUERIES;
    const pieces = isQueries ? Math.ceil(tokens / PIECE_ROWS) * heads : Math.ceil(positions / PIECE_ROWS) * kvHeads;
    const expected = () => {
      const found = referenceAttentionGradients(inputs, attributes, { y: slopes, lse: undefined });
      return isQueries ? [laid(found.q, dq)] : [laid(found.keys, dkeys), laid(found.values, dvalues)];
    };
    return { kernel: of, expected, values, pieces, results: isQueries ? [dq] : [dkeys, dvalues], tolerance: 1e-4 };
  };
}

test("attention of any shape, to keys of either format, its chunks together or apart", () =>
  fuzz(
    fc
      .tuple(attended, fc.boolean(), fc.constantFrom<Stored>("F32", "F16"))
      .map(([shape, inParts, stored]) => ({ ...shape, inParts, stored })),
    attention,
  ));
test("gradients of queries of any shape", () => fuzz(attended, gradient(QUERIES)));
test("gradients of keys and values of any shape", () => fuzz(attended, gradient(KEYS)));
