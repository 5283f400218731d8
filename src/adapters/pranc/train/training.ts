import type { AdapterTraining } from "../../training/definition.ts";
import { targetSettings } from "../../training/existing.ts";
import { findTargets } from "../../base/target-modules.ts";
import { prancConfig } from "../config.ts";
import { prancRecord } from "../record.ts";
import { NO_RANK, PRANC_SETTINGS, type PrancSettings, resolvePranc } from "./settings.ts";
import { existingPranc, newPranc } from "./source.ts";
import { trainablePranc } from "./trained.ts";

export const prancTraining: AdapterTraining<PrancSettings> = {
  result: "adapter",
  settings: PRANC_SETTINGS,
  usual: { rank: NO_RANK, alphaPerRank: 1, learningRate: 3e-2 },
  capacity: {
    setting: "bases",
    most: () => Infinity,
    count: (_, bases) => bases,
    // ΔW is formed, G = dyᵀx, and G multiplied with every network.
    flops: (modules, bases, _, tokens) =>
      modules.reduce((sum, { out, in: input }) => sum + 2 * out * input * (2 * bases + tokens), 0),
  },
  formsWhole: true,
  resolve: resolvePranc,
  initial(adapter) {
    const { bases, alpha, targets } = prancConfig(adapter);
    return { alpha, ...targetSettings(targets), bases, basisSeed: String(prancRecord(adapter).seed) };
  },
  async open({ base, model, seed }, settings, adapter) {
    const source =
      adapter === undefined
        ? newPranc(settings, findTargets(base, settings), model)
        : await existingPranc(adapter, base, settings);
    return trainablePranc(source, settings, seed);
  },
};
