import type { Adapter } from "../files/adapter.ts";
import { isShared } from "../files/shared-tensors.ts";
import { convertFrozen } from "../frozen/convert.ts";
import { recordOf } from "../frozen/origin.ts";
import type { ConversionWish, ConvertedContent, MethodDefinition } from "../method/method.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { ALL_TYPES, PEFT_TYPES, randloraConfig, type RandloraSettings } from "./config.ts";
import { pairingOfAdapter, planRandlora, randloraAdapterPlan } from "./plan.ts";
import { randloraTraining } from "./train.ts";

/** RandLoRA (Albert et al., arXiv:2502.00987). */
export const randlora: MethodDefinition<RandloraSettings> = {
  name: "randlora",
  title: "RandLoRA",
  peftTypes: ALL_TYPES,
  ownTypes: ALL_TYPES.filter((type) => type !== PEFT_TYPES.peft),
  shared: RANDLORA_BASES.shared,
  // A copy for every layer, as PEFT writes them, would be many times as large as all that is trained.
  peftWarning: ({ tensors }) =>
    tensors.some(({ name }) => isShared(name, RANDLORA_BASES))
      ? "When it loads this folder, PEFT warns that `randlora_A.default` and `randlora_B.default` of every layer are missing. Nothing is: all layers share the one pair that is here."
      : undefined,
  check: randloraConfig,
  plan: (adapter, base, options) => randloraAdapterPlan(planRandlora(adapter, base, options)),
  convert: convertRandlora,
  training: randloraTraining,
};

/** @param inPeft whether PEFT has such adapters at all */
export async function convertRandlora(
  adapter: Adapter,
  wish: ConversionWish,
  inPeft = adapter.config["peft_type"] === PEFT_TYPES.peft,
): Promise<ConvertedContent> {
  const saysSaved = adapter.config["peft_type"] === PEFT_TYPES.peft;
  const config = randloraConfig(adapter);
  pairingOfAdapter(adapter, config, recordOf(adapter, RANDLORA_BASES));
  return await convertFrozen(RANDLORA_BASES, adapter, wish, { config, inPeft, saysSaved });
}
