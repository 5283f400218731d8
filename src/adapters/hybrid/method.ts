import { lora } from "../lora/method.ts";
import type { MethodDefinition } from "../method/method.ts";
import { RANDLORA_BASES } from "../randlora/bases.ts";
import { checkHybrid, PEFT_TYPE } from "./config.ts";
import { convertHybrid } from "./convert.ts";
import { planHybrid } from "./plan.ts";
import { type HybridSettings, hybridTraining } from "./train.ts";

/** RandLoRA and LoRA on the same modules, which arXiv:2502.00987 proposes in section 6.6: ΔW is the sum of theirs. */
export const hybrid: MethodDefinition<HybridSettings> = {
  name: "hybrid",
  title: "RandLoRA + LoRA",
  peftTypes: [PEFT_TYPE],
  ownTypes: [PEFT_TYPE],
  shared: RANDLORA_BASES.shared,
  check: checkHybrid,
  plan: planHybrid,
  convert: convertHybrid,
  training: hybridTraining,
  beginsWith: [lora],
};
