import { findTargets } from "../base/target-modules.ts";
import { lowRankFlops } from "../delta/low-rank/linears.ts";
import { countMagnitudes, magnitudeFlops, withMagnitude } from "../delta/magnitude/trainable.ts";
import { readMagnitudes } from "../delta/magnitude/vectors.ts";
import { stackExperts } from "../lora/expert-stacks.ts";
import { MAGNITUDE, planLora } from "../lora/plan.ts";
import { type LoraSettings, loraTraining, newLora, trainableLora } from "../lora/train.ts";
import type { AdapterTraining } from "../method/definition.ts";
import { openExisting } from "../method/existing.ts";

const { adaptsParameters: _, ...plainTraining } = loraTraining;

export const doraTraining: AdapterTraining<LoraSettings> = {
  ...plainTraining,
  capacity: {
    ...loraTraining.capacity,
    count: (modules, rank, given) => loraTraining.capacity.count(modules, rank, given) + countMagnitudes(modules),
    flops: (modules, rank, _, tokens) => lowRankFlops(modules, rank, tokens) + magnitudeFlops(modules, () => rank),
  },
  resolve: ({ rslora = false }) => ({ rslora }),
  async open({ base, model, seed }, settings, adapter) {
    const plan =
      adapter === undefined
        ? planLora(newLora(settings, findTargets(base, settings), model, seed), base)
        : await openExisting(planLora(adapter, base));
    const own = { ...plan.adapter, config: { ...plan.adapter.config, use_dora: true } };
    const parts = { ...stackExperts(plan, base), adapter: own };
    const trainable = trainableLora(parts, { dropout: settings.dropout, seed });
    const values = adapter && (await readMagnitudes(adapter, plan.layers, MAGNITUDE));
    return withMagnitude(trainable, plan.layers, MAGNITUDE, values);
  },
};
