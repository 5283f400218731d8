import * as v from "valibot";
import { recordZero } from "../../compute/tensor/fill.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import { itemAt } from "../../files/item-at.ts";
import { positiveInteger } from "../base/config-keys.ts";
import { type Formula, moveStrided, ones, partFrom } from "../formula/formula.ts";
import type { Sizes } from "../formula/config.ts";
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
 * share. "mini": D[i mod r, o mod mini_r]. "bat" multiplies with blocks of W, which a formula does not know.
 */
export const MISS: FormulaMethod<"d", typeof KEYS> = {
  name: "miss",
  title: "MiSS",
  peftType: "MISS",
  peft: {
    dropout: "miss_dropout",
    bias: "MiSS_only",
    keys: KEYS,
    refusal: ({ init_weights: init }) =>
      init === "bat" ? '"init_weights" is "bat", with which ΔW depends on W: not supported' : undefined,
  },
  usual: { rank: 64, rankFits: true, alphaPerRank: null, learningRate: 1e-4 },
  most: (modules) => Math.min(...modules.map(({ in: input }) => input)),
  tensors: {
    names: { d: "miss_block" },
    shapes: ({ r, own }, { out }) => ({ d: [r, own.init_weights === "mini" ? own.mini_r : out] }),
    meaning: "the block is (r, out), with init_weights mini (r, mini_r)",
  },
  start: () => ({}),
  formula: sharedBlock,
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
