import { countMagnitudes, magnitudeFlops, withMagnitude } from "../../delta/magnitude/trainable.ts";
import { readMagnitudes } from "../../delta/magnitude/vectors.ts";
import { randloraConfig } from "../config.ts";
import { MAGNITUDE } from "../plan.ts";
import { isRankR } from "../rank-r/stacked.ts";
import { recordOf } from "../../frozen/origin.ts";
import { RANDLORA_BASES } from "../bases.ts";
import { parseBasesFrom } from "../../delta/scaled-bases/place.ts";
import { fewestFlops } from "../../delta/scaled-bases/flops.ts";
import { lowRankFlops } from "../../delta/low-rank/flops.ts";
import type { AdapterTraining, ModuleShape } from "../../training/definition.ts";
import { targetSettings } from "../../training/existing.ts";
import { findTargets } from "../../base/target-modules.ts";
import { RANDLORA_SETTINGS, type RandloraSettings, resolveRandlora } from "./settings.ts";
import { existingRandlora, newRandlora } from "./source.ts";
import { randloraShape, trainedNumbers } from "../shape.ts";
import { trainableRandlora } from "./trained.ts";

export const randloraTraining: AdapterTraining<RandloraSettings> = {
  result: "adapter",
  settings: RANDLORA_SETTINGS,
  usual: { rank: 32, alphaPerRank: 20, learningRate: 1e-4 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
    count(modules, rank, { variant, dora = false }) {
      const half = variant === "half-rank";
      const numbers = modules.reduce((sum, { out, in: input }) => sum + trainedNumbers(out, input, rank, half), 0);
      return numbers + (dora ? countMagnitudes(modules) : 0);
    },
    flops(modules, rank, { variant, dora = false }, tokens) {
      const shapeOf = ({ out, in: input }: ModuleShape) => randloraShape(out, input, rank, variant === "half-rank");
      const sums = ({ out, in: input }: ModuleShape) => 4 * shapeOf({ out, in: input }).terms * (out + input);
      const own =
        variant === "rank-r"
          ? lowRankFlops(modules, rank, tokens) + modules.reduce((sum, module) => sum + sums(module), 0)
          : modules.reduce((sum, module) => sum + fewestFlops(shapeOf(module), tokens), 0);
      const terms = (module: ModuleShape) => (variant === "rank-r" ? rank : shapeOf(module).terms);
      return own + (dora ? magnitudeFlops(modules, terms) : 0);
    },
  },
  resolve: resolveRandlora,
  initial(adapter, given) {
    const { r: rank, alpha, half, targets, key, sparsity, dora } = randloraConfig(adapter);
    const record = recordOf(adapter, RANDLORA_BASES);
    return {
      rank,
      alpha,
      ...targetSettings(targets),
      variant: isRankR(adapter) ? "rank-r" : half ? "half-rank" : (record?.pairing ?? "peft"),
      sparsity,
      basisSeed: String(key),
      generator: record?.generator ?? given.generator ?? null,
      dora,
    };
  },
  async open(input, settings, adapter) {
    const { base, began, signal } = input;
    const source =
      adapter === undefined
        ? await newRandlora(input, settings, findTargets(base, settings))
        : await existingRandlora(adapter, base, settings, parseBasesFrom(began), signal);
    const trainable = trainableRandlora(source, settings, input.seed);
    if (!settings.dora) return trainable;
    const modules = source.modules.map(({ name, tensor, shape: { out, in: width } }) => ({
      name,
      tensor,
      out,
      in: width,
    }));
    const values = adapter && (await readMagnitudes(adapter, modules, MAGNITUDE));
    return withMagnitude(trainable, modules, MAGNITUDE, values);
  },
};
