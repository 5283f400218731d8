import * as v from "valibot";
import type { Run } from "../../compute/tensor/run.ts";
import { recordZero } from "../../compute/tensor/fill.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import {
  type DeltaRows,
  type Formula,
  moveStrided,
  partFrom,
  recordRounded,
  type Sizes,
  tooManyBlocks,
} from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

const KEYS = { init_weights: v.optional(v.unknown(), true) };

/** Rows t at once: the sum of their gradients is one of f32, and their masks can be bound at once. */
const STRIP = 256;

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/**
 * C3A (Chen et al., arXiv:2407.19342; peft/tuners/c3a): ΔW is blocks of b × b, each circulant: block (m, n) has
 * K[m, n, (j − t) mod b] / in in row t, column j. The rank is b; a smaller one has more parameters. PEFT begins at random,
 * we at zero (`init_weights` true).
 */
export const C3A: FormulaMethod<"k", typeof KEYS> = {
  name: "c3a",
  title: "C3A",
  peftType: "C3A",
  peft: {
    rank: "block_size",
    ranks: "block_size_pattern",
    rankExpression: (key) => String.raw`.*\.${key}$`,
    bias: "c3a_only",
    keys: KEYS,
    roundsDelta: true,
  },
  usual: { rank: 256, rankFits: true, alphaPerRank: null, learningRate: 0.1 },
  most: (modules) => modules.flatMap(({ out, in: input }) => [out, input]).reduce(divisor),
  tensors: {
    names: { k: "c3a_kernel" },
    shapes: ({ r: b }, { out, in: input }) => ({ k: [out / b, input / b, b] }),
    meaning: "the kernel is (out/b, in/b, b), b being block_size",
  },
  start: () => ({}),
  formula: circulant,
  misfit: ({ out, in: input }, { r: b }) =>
    out % b === 0 && input % b === 0 ? tooManyBlocks(input / b) : `the block size ${b} does not divide its sides`,
  terms: 2,
};

export const c3a = formulaMethod(C3A);

function circulant({ in: input }: ModuleShape, { r: b }: Sizes<typeof KEYS>): Formula<"k"> {
  const blocks = input / b;
  /**
   * Rows t of all blocks, as far as they are among these, in strips of t: which of two copies of K, one b further, a column
   * takes is in `masks`, from the strip's last t to its first, j ≥ t, then likewise j < t. `m`: of the first such block.
   */
  function* stripsOf(run: Run, { first, rows }: DeltaRows) {
    const [count] = rows.shape;
    const ones = run.upload("0, 1, 0", [1, 3 * b], new Float32Array(3 * b).fill(1, b, 2 * b));
    for (let at = 0, size = 0; at < Math.min(b, count); at += size) {
      const begin = (first + at) % b;
      size = Math.min(STRIP, b - begin, Math.min(b, count) - at);
      const masks = run.allocate("masks", [2 * size, input]);
      recordZero(run, masks);
      for (let n = 0; n < 2 * blocks; n++) {
        const copy = n % 2;
        const of = partFrom(ones, 0, (copy + 1) * b + 1 - begin - size);
        moveStrided(run, of, { row: 1, col: 1 }, partFrom(masks, copy * size, ((n - copy) / 2) * b, [size, b]));
      }
      const lines = Array.from({ length: size }, (_, line) => {
        const row = at + line;
        const part = { ...partFrom(rows, row, 0, [Math.ceil((count - row) / b), input]), pitch: rows.pitch * b };
        return { t: begin + line, m: Math.floor((first + row) / b), part, mask: partFrom(masks, size - 1 - line, 0) };
      });
      yield { lines, copy: size * masks.pitch };
      run.release(masks);
    }
  }
  /** Records what is done with K's blocks n as `wide` has them, behind b columns of each row and before b more. */
  const each = (wide: Tensor, k: Tensor, move: (here: Tensor, there: Tensor) => void) => {
    for (let n = 0; n < blocks; n++) {
      const shape = [wide.shape[0], b] as const;
      move(partFrom(wide, 0, (n + 1) * b, shape), { ...partFrom(k, n, 0, shape), pitch: blocks * k.pitch });
    }
  };
  const wideOf = (run: Run, k: Tensor) => {
    const wide = run.allocate("K", [k.shape[0] / blocks, input + 2 * b]);
    recordZero(run, wide);
    return wide;
  };
  return {
    at: ({ k }, row, col) => {
      const [m, n] = [Math.floor(row / b), Math.floor(col / b)];
      return itemAt(k, (m * blocks + n) * b + ((((col - row) % b) + b) % b)) / input;
    },
    form(run, { k }, scale, rows, accumulate) {
      const wide = wideOf(run, k);
      each(wide, k, (here, there) => moveStrided(run, there, { row: there.pitch, col: 1 }, here));
      recordRounded(run, wide, rows.rounding);
      for (const { lines, copy } of stripsOf(run, rows)) {
        for (const { t, m, part: y, mask } of lines) {
          const x = { of: partFrom(wide, m, b - t), steps: { row: wide.pitch, col: 1, term: b } };
          const w = { of: mask, steps: { row: 0, col: 1, term: copy } };
          recordStridedSums(run, { x, w, y, terms: 2, scale: scale / input, accumulate });
        }
      }
      run.release(wide);
    },
    fold(run, _, scale, rows, { k }) {
      for (const { lines, copy } of stripsOf(run, rows)) {
        const wide = wideOf(run, k);
        for (const { t, m, part: g, mask } of lines) {
          for (const second of [0, 1]) {
            const x = { of: g, steps: { row: g.pitch, col: 1, term: 0 } };
            const w = { of: partFrom(mask, 0, second * copy), steps: { row: 0, col: 1, term: 0 } };
            const y = partFrom(wide, m, b + second * b - t, g.shape);
            recordStridedSums(run, { x, w, y, terms: 1, scale: scale / input, accumulate: true });
          }
        }
        each(wide, k, (here, there) => moveStrided(run, here, { row: here.pitch, col: 1 }, there));
        run.release(wide);
      }
    },
  };
}
