import * as v from "valibot";
import type { Run } from "../../compute/tensor/run.ts";
import { recordZero } from "../../compute/tensor/fill.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { type DeltaRows, type Formula, moveStrided, partFrom } from "../formula/formula.ts";
import type { Sizes } from "../formula/config.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

const KEYS = {
  block_size_pattern: v.nullish(v.record(v.string(), v.unknown()), {}),
  init_weights: v.optional(v.unknown(), true),
};

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
    bias: "c3a_only",
    keys: KEYS,
    refusal: ({ block_size_pattern: sizes }) =>
      Object.keys(sizes ?? {}).length > 0 ? '"block_size_pattern" is not supported' : undefined,
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
    out % b === 0 && input % b === 0 ? undefined : `the block size ${b} does not divide its sides`,
  terms: 2,
};

export const c3a = formulaMethod(C3A);

function circulant({ in: input }: ModuleShape, { r: b }: Sizes<typeof KEYS>): Formula<"k"> {
  const blocks = input / b;
  /** Where j ≥ t, in row t, and where j < t, in row b + t: which of two copies of K, one b further, a column takes. */
  const copies = (run: Run) => {
    const isOf = (at: number) => Number(at < b * input === (at % input) % b >= Math.floor(at / input) % b);
    return run.upload(
      "copies",
      [2 * b, input],
      Float32Array.from({ length: 2 * b * input }, (_, at) => isOf(at)),
    );
  };
  /** Rows t of all blocks, as far as they are among these; `m`: of the first such block. */
  function* rowsOf({ first, rows }: DeltaRows) {
    for (let t = 0; t < b; t++) {
      const [m, end] = [first, first + rows.shape[0]].map((row) => Math.ceil((row - t) / b)) as [number, number];
      const part = partFrom(rows, m * b + t - first, 0, [end - m, input]);
      if (end > m) yield { t, m, part: { ...part, pitch: rows.pitch * b } };
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
      const [wide, of] = [wideOf(run, k), copies(run)];
      each(wide, k, (here, there) => moveStrided(run, there, { row: there.pitch, col: 1 }, here));
      for (const { t, m, part: y } of rowsOf(rows)) {
        const x = { of: partFrom(wide, m, b - t), steps: { row: wide.pitch, col: 1, term: b } };
        const w = { of: partFrom(of, t, 0), steps: { row: 0, col: 1, term: b * of.pitch } };
        recordStridedSums(run, { x, w, y, terms: 2, scale: scale / input, accumulate });
      }
      run.release(wide);
    },
    fold(run, _, scale, rows, { k }) {
      const [wide, of] = [wideOf(run, k), copies(run)];
      for (const { t, m, part: g } of rowsOf(rows)) {
        for (const copy of [0, b]) {
          const x = { of: g, steps: { row: g.pitch, col: 1, term: 0 } };
          const w = { of: partFrom(of, copy + t, 0), steps: { row: 0, col: 1, term: 0 } };
          const y = partFrom(wide, m, b + copy - t, g.shape);
          recordStridedSums(run, { x, w, y, terms: 1, scale: scale / input, accumulate: true });
        }
      }
      each(wide, k, (here, there) => moveStrided(run, here, { row: here.pitch, col: 1 }, there));
      run.release(wide);
    },
  };
}
