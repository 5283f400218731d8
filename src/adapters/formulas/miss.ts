import * as v from "valibot";
import { recordZero } from "../../compute/tensor/fill.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import { itemAt } from "../../files/item-at.ts";
import { positiveInteger } from "../base/config-keys.ts";
import {
  blocksOf,
  type DeltaRows,
  type Formula,
  moveStrided,
  ones,
  partFrom,
  type Sizes,
  tooManyBlocks,
} from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

const KEYS = {
  init_weights: v.optional(
    v.union([v.boolean(), v.picklist(["bat", "mini"])], 'it must be true, "bat" or "mini"'),
    true,
  ),
  mini_r: v.optional(positiveInteger, 1),
};

/**
 * MiSS (Kang and Yin, arXiv:2409.15371; peft/tuners/miss): ΔW[o, i] = D[i mod r, o], one matrix that all blocks of r columns
 * share. "mini": D[i mod r, o mod mini_r]. "bat": blocks (p, q) of r × r are W · Dₚ + Dₚ.
 */
export const MISS: FormulaMethod<"d", typeof KEYS> = {
  name: "miss",
  title: "MiSS",
  peftType: "MISS",
  peft: {
    dropout: "miss_dropout",
    bias: "MiSS_only",
    keys: KEYS,
  },
  usual: { rank: 64, rankFits: true, alphaPerRank: null, learningRate: 1e-4 },
  most: (modules) => Math.min(...modules.map(({ in: input }) => input)),
  tensors: {
    names: { d: "miss_block" },
    shapes: ({ r, own: { init_weights: init, mini_r: cols } }, { out }) => ({
      d: init === "bat" ? [out / r, r, r] : [r, init === "mini" ? cols : out],
    }),
    meaning: "the block is (r, out), with init_weights mini (r, mini_r), with bat (out/r, r, r)",
  },
  start: () => ({}),
  formula: (module, sizes) => (sizes.own.init_weights === "bat" ? affine(sizes.r) : sharedBlock(module, sizes)),
  takesWeight: ({ init_weights: init }) => init === "bat",
  misfit({ out, in: input }, { r, own }) {
    if (own.init_weights !== "bat") return undefined;
    return out % r !== 0 || input % r !== 0
      ? `r ${r} does not divide its sides`
      : tooManyBlocks((out / r) * (input / r));
  },
  terms: 1,
};

export const miss = formulaMethod(MISS);

function sharedBlock({ out, in: input }: ModuleShape, { r, own }: Sizes<typeof KEYS>): Formula<"d"> {
  const cols = own.init_weights === "mini" ? own.mini_r : out;
  /** (cols, out): which column of D each output has. */
  const tiles = (run: Run) => {
    const isOf = (at: number) => Number((at % out) % cols === Math.floor(at / out));
    return run.upload(
      "tiles",
      [cols, out],
      Float32Array.from({ length: cols * out }, (_, at) => isOf(at)),
    );
  };
  return {
    at: ({ d }, row, col) => itemAt(d, (col % r) * cols + (row % cols)),
    form(run, { d }, scale, { first, rows }, accumulate) {
      const whole = cols === out ? d : run.allocate("MiSS", [r, out]);
      if (whole !== d) recordGemm(run, { order: "NN", a: d, b: tiles(run), y: whole });
      // Columns begin anywhere: what is assigned to some would clear the padding of their last vector, too.
      if (!accumulate) recordZero(run, rows);
      for (let col = 0; col < input; col += r) {
        const y = partFrom(rows, 0, col, [rows.shape[0], Math.min(r, input - col)]);
        moveStrided(run, partFrom(whole, 0, first), { row: 1, col: whole.pitch }, y, { scale });
      }
      if (whole !== d) run.release(whole);
    },
    fold(run, _, scale, { first, rows: g }, { d }) {
      const whole = cols === out ? d : run.allocate("MiSS", [r, out]);
      if (whole !== d) recordZero(run, whole);
      const w = ones(run);
      // The last block of columns may lack some.
      for (const [k, n] of [
        [0, input % r],
        [input % r, r - (input % r)],
      ] as const) {
        if (n === 0) continue;
        const x = { of: partFrom(g, 0, k), steps: { row: 1, col: g.pitch, term: r } };
        const y = partFrom(whole, k, first, [n, g.shape[0]]);
        recordStridedSums(run, { x, w, y, terms: Math.ceil((input - k) / r), scale, accumulate: true });
      }
      if (whole === d) return;
      recordGemm(run, { order: "NT", a: whole, b: tiles(run), y: d, accumulate: true });
      run.release(whole);
    },
  };
}

/** Blocks (p, q): W · Dₚ + Dₚ. */
function affine(r: number): Formula<"d"> {
  const blocks = function* (rows: DeltaRows) {
    for (const { d: p, o, part, weight } of blocksOf(rows, r, r)) {
      if (weight === undefined) throw new Error("MiSS's formula takes W");
      yield { p, a: o, part, ...weight };
    }
  };
  return {
    at({ d }, row, col, weight) {
      const [p, a, q, b] = [Math.floor(row / r), row % r, Math.floor(col / r), col % r];
      let sum = itemAt(d, (p * r + a) * r + b);
      for (let c = 0; c < r; c++) sum += weight(row, q * r + c) * itemAt(d, (p * r + c) * r + b);
      return sum;
    },
    form(run, { d }, scale, rows, accumulate) {
      if (!accumulate) recordZero(run, rows.rows);
      for (const { p, a, part: y, of, steps } of blocks(rows)) {
        const x = { of, steps: { row: steps.row, col: 0, term: steps.col } };
        const w = { of: partFrom(d, p * r, 0), steps: { row: 0, col: 1, term: d.pitch } };
        recordStridedSums(run, { x, w, y, terms: r, scale, accumulate: true });
        moveStrided(run, partFrom(d, p * r + a, 0), { row: d.pitch, col: 1 }, y, { scale });
      }
    },
    fold(run, _, scale, rows, { d }) {
      for (const { p, a, part: g, of, steps } of blocks(rows)) {
        const x = { of, steps: { row: steps.col, col: 0, term: steps.row } };
        const w = { of: g, steps: { row: 0, col: 1, term: g.pitch } };
        const y = partFrom(d, p * r, 0, [r, r]);
        recordStridedSums(run, { x, w, y, terms: g.shape[0], scale, accumulate: true });
        moveStrided(run, g, { row: g.pitch, col: 1 }, partFrom(d, p * r + a, 0, g.shape), { scale });
      }
    },
  };
}
