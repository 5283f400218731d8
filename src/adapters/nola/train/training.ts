import { lowRankFlops } from "../../delta/low-rank/flops.ts";
import type { AdapterTraining } from "../../training/definition.ts";
import { targetSettings } from "../../training/existing.ts";
import { findTargets } from "../../base/target-modules.ts";
import { nolaConfig } from "../config.ts";
import { NOLA_SETTINGS, type NolaSettings, resolveNola } from "./settings.ts";
import { existingNola, newNola } from "./source.ts";
import { trainableNola } from "./trained.ts";

const USUAL_RANK = 8;

export const nolaTraining: AdapterTraining<NolaSettings> = {
  result: "adapter",
  settings: NOLA_SETTINGS,
  usual: { rank: USUAL_RANK, alphaPerRank: 2, learningRate: 3e-4 },
  capacity: {
    setting: "bases",
    // So many bases span all factors of this rank: more of them add none.
    most: (modules) => USUAL_RANK * Math.max(...modules.flatMap(({ out, in: input }) => [out, input])),
    count: (modules, bases) => 2 * bases * modules.length,
    flops(modules, bases, { rank = USUAL_RANK }, tokens) {
      // Each factor is formed once, and its gradient taken back to the coefficients.
      const sums = modules.reduce((sum, { out, in: input }) => sum + 4 * bases * rank * (out + input), 0);
      return lowRankFlops(modules, rank, tokens) + sums;
    },
  },
  resolve: resolveNola,
  initial(adapter) {
    const { r: rank, alpha, targets, bases, key } = nolaConfig(adapter);
    return { rank, alpha, ...targetSettings(targets), bases, basisSeed: String(key) };
  },
  async open(input, settings, adapter) {
    const source =
      adapter === undefined
        ? newNola(input, settings, findTargets(input.base, settings))
        : await existingNola(adapter, input.base, settings);
    return trainableNola(source, settings.dropout, input.seed);
  },
};
