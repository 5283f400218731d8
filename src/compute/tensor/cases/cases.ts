import { BLOCK_DTYPES, NUMBER_DTYPES } from "../../device/dtype.ts";
import type { OPS } from "../ops/index.ts";
import { ATTENTION_CASES } from "./attention-cases.ts";
import { expertCases } from "./expert-cases.ts";
import {
  convolutionCase,
  gatedDeltaCase,
  linearCase,
  normedCase,
  ropeCase,
  ROW_CASES,
  ties,
  withoutNumbers,
} from "./build-cases.ts";
import { type CasesOf, ids, random } from "./case.ts";

/** What each op is tried on: odd sizes, one row, head size 8, one kv head. An op without cases does not compile. */
export const CASES: { readonly [K in keyof typeof OPS]: CasesOf<(typeof OPS)[K]> } = {
  ...ROW_CASES,
  attention: ATTENTION_CASES,
  combineRows: [
    { name: "odd sizes", inputs: { factors: random(5, 37), x: random(37, 11) }, attributes: {} },
    { name: "one sum of many rows", inputs: { factors: random(1, 700), x: random(700, 8) }, attributes: {} },
  ],
  convolution: [
    convolutionCase("texts one after another", 9, 37, 3, { bias: true, texts: [4, 1] }),
    convolutionCase("one text, fewer tokens than taps", 2, 8, 4),
    convolutionCase("one tap, several workgroups", 3, 300, 1),
    convolutionCase("more tokens than a partial sum has", 530, 6, 3, { bias: true, texts: [260] }),
    convolutionCase("without a gate, texts one after another", 9, 37, 4, { texts: [4, 1], ungated: true, bias: true }),
    convolutionCase("behind others of a cache", 3, 20, 3, { firstPosition: 4, positions: 12 }),
    convolutionCase("the first of a cache", 1, 12, 5, { positions: 4, bias: true }),
    convolutionCase("rows of several caches", 3, 16, 3, { positions: 20, seen: (token) => [6 * token, 7 * token] }),
  ],
  dropout: [
    { name: "odd size", inputs: { x: random(5, 37) }, attributes: { rate: 0.3, key: [1, 2], stream: [3, 4] } },
    {
      name: "several workgroups",
      inputs: { x: random(3, 1300) },
      attributes: { rate: 0.9, key: [7, 0], stream: [0, 1] },
    },
    { name: "rate 0", inputs: { x: random(2, 9) }, attributes: { rate: 0, key: [1, 0], stream: [0, 0] } },
  ],
  embedding: [
    ...NUMBER_DTYPES.map((dtype) => ({
      name: dtype,
      inputs: { ids: ids(0, 16, 3, 3, 9), table: random(17, 37, dtype) },
      attributes: { scale: 1.5 },
    })),
    ...BLOCK_DTYPES.map((dtype) => ({
      name: dtype,
      inputs: { ids: ids(0, 16, 3, 3, 9), table: random(17, 96, dtype) },
      attributes: { scale: 1.5 },
    })),
    {
      name: "an id at 600 places, others between",
      inputs: {
        ids: ids(...Array.from({ length: 1200 }, (_, t) => (t % 2 === 0 ? 5 : (t * 7) % 11))),
        table: random(11, 8),
      },
      attributes: { scale: 1 },
    },
  ],
  gatedDelta: [
    gatedDeltaCase("one token", 1, 1, 1, [4, 4]),
    gatedDeltaCase("texts one after another, several blocks", 41, 2, 4, [8, 12], [3, 13, 20]),
    gatedDeltaCase("a whole block, odd numbers of heads", 16, 1, 3, [20, 4]),
    gatedDeltaCase("states of which nothing is left, and nearly all", 20, 1, 2, [8, 4], [7, 13], 200),
    gatedDeltaCase("several workgroups of columns", 18, 1, 1, [132, 72]),
  ],
  linear: [
    linearCase(4100, 4, 5, "F32", true), // several blocks in the sums of columns
    ...NUMBER_DTYPES.flatMap((dtype) => [
      linearCase(1, 37, 51, dtype, true),
      linearCase(2, 64, 33, dtype),
      linearCase(3, 12, 8, dtype, true),
      linearCase(4, 700, 70, dtype),
      linearCase(5, 37, 51, dtype, true),
      linearCase(29, 300, 70, dtype),
      linearCase(65, 8, 129, dtype, true),
      linearCase(1, 9000, 9, dtype),
    ]),
    ...BLOCK_DTYPES.flatMap((dtype) => [
      linearCase(1, 32, 51, dtype, true),
      linearCase(2, 96, 33, dtype),
      linearCase(4, 704, 70, dtype),
      linearCase(5, 32, 51, dtype, true),
      linearCase(29, 288, 70, dtype),
      linearCase(65, 64, 129, dtype, true),
      linearCase(1, 8992, 9, dtype),
    ]),
  ],
  nll: [
    {
      name: "one block, odd vocabulary",
      inputs: { x: random(5, 24), weight: random(513, 24, "F32", 3), bias: undefined, targets: ids(0, 512, 7, 7, 100) },
      attributes: { softcap: undefined },
    },
    {
      name: "several blocks, soft cap",
      inputs: {
        x: random(4, 8),
        weight: random(16_500, 8, "BF16", 4),
        bias: undefined,
        targets: ids(16_499, 8191, 8192, 0),
      },
      attributes: { softcap: 5 },
    },
    {
      name: "one token, large logits",
      inputs: { x: random(1, 8, "F32", 30), weight: random(9000, 8, "F16", 30), bias: undefined, targets: ids(4711) },
      attributes: { softcap: undefined },
    },
    {
      name: "a head with a bias",
      inputs: { x: random(6, 20), weight: random(5, 20), bias: random(1, 5, "F32", 2), targets: ids(0, 4, 4, 1, 2, 0) },
      attributes: { softcap: undefined },
    },
    {
      name: "several blocks, bias, soft cap",
      inputs: {
        x: random(3, 12),
        weight: random(9001, 12, "F32", 4),
        bias: random(1, 9001),
        targets: ids(9000, 8192, 0),
      },
      attributes: { softcap: 5 },
    },
  ],
  normedLinear: [
    ...NUMBER_DTYPES.flatMap((dtype) => [
      normedCase(1, 37, 51, dtype, { bias: true }),
      normedCase(2, 300, 72, dtype, { gate: "silu" }),
      normedCase(1, 700, 40, dtype, { gate: "gelu-tanh", branch: true, offset: 1 }),
      normedCase(4, 64, 33, dtype, { branch: true, offset: 1 }),
      normedCase(3, 9, 24, dtype, { gate: "gelu", bias: true }),
    ]),
    ...BLOCK_DTYPES.flatMap((dtype) => [
      // With biases: of small products of two rounded numbers little would be left.
      normedCase(1, 288, 104, dtype, { gate: "silu", bias: true }),
      normedCase(3, 96, 51, dtype, { branch: true }),
      normedCase(2, 64, 40, dtype, { gate: "quick-gelu", bias: true, branch: true }),
    ]),
    normedCase(1, 9000, 200, "BF16", { gate: "silu", branch: true }),
    normedCase(7, 37, 104, "F32", { gate: "silu", bias: true }),
    normedCase(33, 44, 208, "F32", { gate: "silu", bias: true, branch: true }),
    // Passes of a small batch, and one row of a large one.
    normedCase(7, 37, 51, "BF16", { branch: true, rowsAtMost: 8 }),
    normedCase(6, 44, 104, "F16", { gate: "gelu", bias: true, rowsAtMost: 8 }),
    normedCase(1, 37, 104, "F32", { gate: "silu", branch: true, rowsAtMost: 100 }),
    normedCase(20, 9000, 8, "F32"), // more numbers than a worker has room for
  ],
  regroup: [
    {
      name: "two parts, some columns of no group",
      inputs: { x: random(3, 39) },
      attributes: { groups: 4, sizes: [5, 3] },
    },
    { name: "four parts", inputs: { x: random(5, 84) }, attributes: { groups: 2, sizes: [8, 8, 20, 6] } },
    { name: "many columns", inputs: { x: random(2, 600) }, attributes: { groups: 3, sizes: [100, 100] } },
    {
      name: "halves apart",
      inputs: { x: random(3, 150) },
      attributes: { groups: 1, sizes: [75, 75], padding: "added" },
    },
    {
      name: "padded heads",
      inputs: { x: random(5, 66) },
      attributes: { groups: 11, sizes: [1, 5], padding: "added" },
    },
    {
      name: "heads without their padding",
      inputs: { x: random(2, 28) },
      attributes: { groups: 7, sizes: [2], padding: "removed" },
    },
  ],
  rope: [
    ropeCase("head size 8", 5, 8, 4, 8),
    ropeCase("one kv head, one token", 1, 9, 1, 64),
    ropeCase("part of a head", 3, 2, 2, 32, 24),
    ropeCase("halves that end within vectors of 4", 3, 4, 2, 20),
    ropeCase("heads of 4, turned in part", 2, 3, 1, 4, 2),
    ropeCase("queries alone", 3, 4, 0, 8),
    ropeCase("with neighbors", 5, 8, 4, 16, 16, true),
    ropeCase("with neighbors, part of a head", 3, 3, 1, 20, 10, true),
  ],
  rows: [
    { name: "some", inputs: { x: random(9, 37), indices: ids(0, 2, 3, 8) }, attributes: {} },
    { name: "one of many columns", inputs: { x: random(3, 600), indices: ids(1) }, attributes: {} },
    { name: "all", inputs: { x: random(2, 4), indices: ids(0, 1) }, attributes: {} },
  ],
  ...expertCases(),
  topK: [
    { name: "argmax of a short row", inputs: { x: random(1, 37) }, attributes: { k: 1 } },
    { name: "argmax among ties", inputs: { x: ties(3, 5000) }, attributes: { k: 1 } },
    { name: "40 among ties, several chunks", inputs: { x: ties(2, 2600) }, attributes: { k: 40 } },
    { name: "60 in three passes", inputs: { x: ties(1, 19_000) }, attributes: { k: 60 } },
    { name: "all of a row", inputs: { x: random(2, 11) }, attributes: { k: 11 } },
    { name: "no numbers among numbers", inputs: { x: withoutNumbers(2, 3000, 2050, 7) }, attributes: { k: 3 } },
    { name: "no number alone", inputs: { x: withoutNumbers(1, 1, 0) }, attributes: { k: 1 } },
    { name: "more than the last chunk holds", inputs: { x: random(1, 1030) }, attributes: { k: 20 } },
  ],
};
