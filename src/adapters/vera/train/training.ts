import { parseBasesFrom } from "../../delta/scaled-bases/place.ts";
import { fewestFlops } from "../../delta/scaled-bases/flops.ts";
import type { AdapterTraining } from "../../training/definition.ts";
import { targetSettings } from "../../training/existing.ts";
import { findTargets } from "../../base/target-modules.ts";
import { veraConfig } from "../config.ts";
import { recordOf } from "../../frozen/origin.ts";
import { VERA_FACTORS } from "../factors.ts";
import { trainedNumbers, veraShape } from "../shape.ts";
import { resolveVera, VERA_SETTINGS, type VeraSettings } from "./settings.ts";
import { existingVera, newVera } from "./source.ts";
import { trainableVera } from "./trained.ts";

export const veraTraining: AdapterTraining<VeraSettings> = {
  result: "adapter",
  settings: VERA_SETTINGS,
  usual: { rank: 256, rankFits: true, alphaPerRank: null, learningRate: 1e-2 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.max(out, input))),
    count: (modules, rank) => modules.reduce((sum, { out }) => sum + trainedNumbers(out, rank), 0),
    flops: (modules, rank, _, tokens) =>
      modules.reduce((sum, { out, in: input }) => sum + fewestFlops(veraShape(out, input, rank), tokens), 0),
  },
  resolve: resolveVera,
  initial(adapter, given) {
    const { r: rank, targets, key, dInitial } = veraConfig(adapter);
    const generator = recordOf(adapter, VERA_FACTORS)?.generator ?? given.generator ?? null;
    return { rank, ...targetSettings(targets), dInitial, basisSeed: String(key), generator };
  },
  async open(input, settings, adapter) {
    const { base, began, signal } = input;
    const source =
      adapter === undefined
        ? await newVera(input, settings, findTargets(base, settings))
        : await existingVera(adapter, base, settings, parseBasesFrom(began), signal);
    return trainableVera(source, settings, input.seed);
  },
};
