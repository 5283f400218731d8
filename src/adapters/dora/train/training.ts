import { loraTraining } from "../../lora/train/training.ts";
import { MAGNITUDE } from "../../lora/plan.ts";
import { existingLora, type LoraSettings, newLora } from "../../lora/train/source.ts";
import { trainableLora } from "../../lora/train/trained.ts";
import { lowRankFlops } from "../../delta/low-rank/flops.ts";
import { readMagnitudes } from "../../delta/magnitude/vectors.ts";
import { countMagnitudes, magnitudeFlops, withMagnitude } from "../../delta/magnitude/trainable.ts";
import type { AdapterTraining } from "../../training/definition.ts";
import { findTargets } from "../../base/target-modules.ts";

export const doraTraining: AdapterTraining<LoraSettings> = {
  ...loraTraining,
  capacity: {
    ...loraTraining.capacity,
    count: (modules, rank, given) => loraTraining.capacity.count(modules, rank, given) + countMagnitudes(modules),
    flops: (modules, rank, _, tokens) => lowRankFlops(modules, rank, tokens) + magnitudeFlops(modules, () => rank),
  },
  resolve: ({ rslora = false }) => ({ rslora }),
  async open({ base, model, seed }, settings, adapter) {
    const source =
      adapter === undefined
        ? newLora(settings, findTargets(base, settings), model)
        : await existingLora(adapter, base, settings);
    const { modules } = source;
    const config = { ...source.config, use_dora: true };
    const values = adapter && (await readMagnitudes(adapter, modules, MAGNITUDE));
    return withMagnitude(
      trainableLora({ modules, config }, { dropout: settings.dropout, seed }),
      modules,
      MAGNITUDE,
      values,
    );
  },
};
