import { findTargets } from "../base/target-modules.ts";
import { lowRankFlops } from "../delta/low-rank/linears.ts";
import { countMagnitudes, magnitudeFlops, withMagnitude } from "../delta/magnitude/trainable.ts";
import { readMagnitudes } from "../delta/magnitude/vectors.ts";
import { stackExperts } from "../lora/expert-stacks.ts";
import { loraAdapterPlan, MAGNITUDE, planLora } from "../lora/plan.ts";
import { lora, type LoraSettings, loraTraining, newLora, trainableLora } from "../lora/method.ts";
import type { AdapterTraining, MethodDefinition } from "../method/method.ts";
import { openExisting, unusedGenerator } from "../method/fit.ts";
import { withMagnitudes } from "../delta/magnitude/deltas.ts";
import { convertAsIs } from "../frozen/convert.ts";
import { loraConfig } from "../lora/config.ts";

const { adaptsParameters: _, ...plainTraining } = loraTraining;

const doraTraining: AdapterTraining<LoraSettings> = {
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

/** DoRA (Liu et al., arXiv:2402.09353): LoRA whose rows of W + ΔW have magnitudes of their own. */
export const dora: MethodDefinition<LoraSettings> = {
  name: "dora",
  title: "DoRA",
  peftTypes: lora.peftTypes,
  isOwn: ({ use_dora }) => use_dora === true,
  shared: [],
  check: loraConfig,
  plan(adapter, base, options) {
    const notes = unusedGenerator(adapter, options, "DoRA, which has no random bases");
    return withMagnitudes(loraAdapterPlan(planLora(adapter, base), notes), MAGNITUDE);
  },
  convert: convertAsIs("DoRA, which has no random bases"),
  training: doraTraining,
};
