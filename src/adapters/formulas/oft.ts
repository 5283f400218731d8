import * as v from "valibot";
import { recordZero } from "../../compute/tensor/fill.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { positiveInteger } from "../base/config-keys.ts";
import {
  blocksOf,
  type DeltaRows,
  type Formula,
  moveStrided,
  partFrom,
  type Sizes,
  tooManyBlocks,
} from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";
import { Blocks, cayley, neumann } from "./cayley.ts";

const KEYS = {
  oft_block_size: v.optional(v.unknown(), 0),
  r: v.optional(v.unknown(), 0),
  coft: v.optional(v.boolean(), false),
  block_share: v.optional(v.boolean(), false),
  use_cayley_neumann: v.optional(v.boolean(), true),
  num_cayley_neumann_terms: v.optional(positiveInteger, 5),
};

const MOST_TERMS = 64;

const known = new Map<number, number[]>();

/** Kept, as sizes are looked for among thousands of block sizes, and config.json may say 2²⁴ inputs. */
function divisors(of: number): readonly number[] {
  const found = known.get(of) ?? [];
  if (found.length === 0) {
    for (let d = 1; d * d <= of; d++) if (of % d === 0) found.push(d, of / d);
    known.set(of, found);
  }
  return found;
}

/** What PEFT makes of a block size that does not divide the inputs: the nearest one that does, the lower of two. */
function blockSize(input: number, asked: number): number {
  if (asked >= input) return input;
  return divisors(input).reduce((best, d) => {
    const further = Math.abs(d - asked) - Math.abs(best - asked);
    return further < 0 || (further === 0 && d < best) ? d : best;
  });
}

/**
 * OFT (Qiu et al., NeurIPS 2023; peft/tuners/oft): ΔW = W (Rᵀ − I), R blocks of b × b on the diagonal that rotate: the Cayley
 * transform (I − Q)(I + Q)⁻¹ of skew Q, or the first terms of its Neumann series (of −Q). Q's upper triangle is trained.
 */
export const OFT: FormulaMethod<"q", typeof KEYS> = {
  name: "oft",
  title: "OFT",
  peftType: "OFT",
  peft: {
    rank: "oft_block_size",
    bias: "oft_only",
    keys: KEYS,
    refusal: ({ coft, oft_block_size: size, num_cayley_neumann_terms: terms }) =>
      size === 0
        ? '"oft_block_size" is missing or 0: blocks told by their number, and OFT of PEFT before 0.14, are not supported'
        : coft
          ? '"coft" is not supported'
          : terms < 2 || terms > MOST_TERMS
            ? `"num_cayley_neumann_terms" is ${terms}: it must be 2 to ${MOST_TERMS}`
            : undefined,
  },
  usual: { rank: 32, alphaPerRank: null, learningRate: 1e-4 },
  most: (modules) => Math.max(...modules.map(({ in: input }) => input)),
  tensors: {
    names: { q: "oft_R.weight" },
    shapes({ r, own }, { in: input }) {
      const b = blockSize(input, r);
      return { q: [own.block_share ? 1 : input / b, (b * (b - 1)) / 2] };
    },
    meaning: "R is (in/b, b(b − 1)/2), b being oft_block_size, or what divides in next to it",
  },
  start: () => ({}),
  formula: rotation,
  takesWeight: () => true,
  misfit: ({ in: input }, { r }) =>
    blockSize(input, r) === 1 ? `no block size near ${r} divides it` : tooManyBlocks(input / blockSize(input, r)),
  terms: 2,
};

export const oft = formulaMethod(OFT);

/** Where the pair i < j is in the upper triangle, row by row. */
const pair = (b: number, i: number, j: number) => i * b - (i * (i + 1)) / 2 + j - i - 1;

function rotation({ in: input }: ModuleShape, { r, own }: Sizes<typeof KEYS>): Formula<"q"> {
  const b = blockSize(input, r);
  const count = own.block_share ? 1 : input / b;
  const turn = own.use_cayley_neumann ? neumann(own.num_cayley_neumann_terms) : cayley;
  /** Rows i of the triangle of all blocks, as they are stored, and as they stand in blocks. */
  function* triangle(q: Tensor, blocks: Tensor) {
    const tall = { ...blocks, pitch: b * blocks.pitch };
    for (let i = 0; i < b - 1; i++) {
      const shape = [count, b - 1 - i] as const;
      yield [partFrom(q, 0, pair(b, i, i + 1), shape), partFrom(tall, 0, i * blocks.pitch + i + 1, shape)] as const;
    }
  }
  const skew = (run: Run, on: Blocks, q: Tensor): Tensor => {
    const [upper, p] = [on.zeros(), on.zeros()];
    for (const [of, y] of triangle(q, upper)) moveStrided(run, of, { row: of.pitch, col: 1 }, y);
    on.addTransposed(upper, p);
    on.add(upper, p, -1);
    return p;
  };
  /** Columns of these rows block by block, and W's. */
  function* columns(rows: DeltaRows) {
    for (const { n, part, weight } of blocksOf(rows, Infinity, b)) {
      if (weight === undefined) throw new Error("OFT's formula takes W");
      yield { begin: (n % count) * b, part, ...weight };
    }
  }
  return {
    at({ q }, row, col, weight) {
      const [n, k] = [Math.floor(col / b), col % b];
      const from = ((n % count) * (b * (b - 1))) / 2;
      const p = (i: number, j: number) =>
        i === j ? 0 : Math.sign(i - j) * itemAt(q, from + pair(b, Math.min(i, j), Math.max(i, j)));
      return turn.column(b, p, k).reduce((sum, value, c) => sum + weight(row, n * b + c) * value, 0);
    },
    form(run, { q }, scale, rows, accumulate) {
      const on = new Blocks(run, count, b);
      const { value } = turn.of(on, skew(run, on, q));
      if (!accumulate) recordZero(run, rows.rows);
      for (const { begin, part: y, of, steps } of columns(rows)) {
        const x = { of, steps: { row: steps.row, col: 0, term: steps.col } };
        const w = { of: partFrom(value, begin, 0), steps: { row: 0, col: 1, term: value.pitch } };
        recordStridedSums(run, { x, w, y, terms: b, scale, accumulate: true });
      }
      on.release();
    },
    fold(run, { q }, scale, rows, to) {
      const on = new Blocks(run, count, b);
      const [turned, dp, upper] = [on.zeros(), on.zeros(), on.zeros()];
      for (const { begin, part: g, of, steps } of columns(rows)) {
        const x = { of, steps: { row: steps.col, col: 0, term: steps.row } };
        const w = { of: g, steps: { row: 0, col: 1, term: g.pitch } };
        recordStridedSums(run, {
          x,
          w,
          y: partFrom(turned, begin, 0, [b, b]),
          terms: g.shape[0],
          scale,
          accumulate: true,
        });
      }
      turn.of(on, skew(run, on, q)).fold(turned, dp);
      on.addTransposed(dp, upper);
      on.add(dp, upper, -1);
      for (const [y, of] of triangle(to.q, upper)) moveStrided(run, of, { row: of.pitch, col: 1 }, y);
      on.release();
    },
  };
}
