import type { AdapterContent } from "../../files/content.ts";
import { loraTraining } from "../../lora/train/training.ts";
import type { Variant } from "../../randlora/peft-types.ts";
import { randloraTraining } from "../../randlora/train/training.ts";
import type { AdapterTraining } from "../../training/definition.ts";
import { sumOfTrainables } from "../../delta/sum-of-trainables.ts";
import { isLoraAdapter, joinConfigs, loraPart, randloraPart } from "../config.ts";
import { HYBRID_SETTINGS, type HybridSettings, resolveHybrid } from "./settings.ts";
import { openParts } from "./source.ts";

export const hybridTraining: AdapterTraining<HybridSettings> = {
  result: "adapter",
  settings: HYBRID_SETTINGS,
  usual: randloraTraining.usual,
  capacity: {
    ...randloraTraining.capacity,
    count(modules, rank, given) {
      const { loraRank = loraTraining.usual.rank, freezeLora = false } = given;
      const factors = freezeLora ? 0 : loraTraining.capacity.count(modules, loraRank, given);
      return randloraTraining.capacity.count(modules, rank, given) + factors;
    },
    flops(modules, rank, given, tokens) {
      const { loraRank = loraTraining.usual.rank } = given;
      const factors = loraTraining.capacity.flops(modules, loraRank, given, tokens);
      return randloraTraining.capacity.flops(modules, rank, given, tokens) + factors;
    },
  },
  resolve: resolveHybrid,
  initial(adapter, given) {
    const isLora = isLoraAdapter(adapter);
    const { rank: loraRank, alpha: _, ...factors } = loraTraining.initial(isLora ? adapter : loraPart(adapter), given);
    return {
      ...factors,
      ...(loraRank === undefined ? {} : { loraRank }),
      ...(isLora ? {} : randloraTraining.initial(randloraPart(adapter), given)),
    };
  },
  async open(input, settings, adapter) {
    const { randlora, factors } = await openParts(input, settings, adapter);
    return sumOfTrainables(randlora, [factors], (contents) => join(settings.variant, contents));
  },
};

/** One adapter of both. */
function join(variant: Variant, [randlora, factors]: readonly AdapterContent[]): AdapterContent {
  if (randlora === undefined || factors === undefined) throw new TypeError("a hybrid without its parts");
  return {
    ...randlora,
    config: joinConfigs(randlora.config, factors.config, variant),
    tensors: [...randlora.tensors, ...factors.tensors],
  };
}
