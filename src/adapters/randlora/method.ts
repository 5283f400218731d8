import type { MethodDefinition } from "../method.ts";
import { parseRandloraConfig } from "./config.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { convertRandlora } from "./convert.ts";
import { randloraAdapterPlan } from "./deltas.ts";
import { ALL_TYPES, PEFT_TYPES } from "./peft-types.ts";
import { planRandlora } from "./plan.ts";
import { isShared } from "../files/shared-tensors.ts";
import type { RandloraSettings } from "./settings.ts";
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
  check: (config, file) => void parseRandloraConfig(config, file),
  plan: (adapter, base, options) => randloraAdapterPlan(planRandlora(adapter, base, options)),
  convert: convertRandlora,
  training: randloraTraining,
};
