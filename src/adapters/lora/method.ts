import { unusedGenerator } from "../method/fit.ts";
import type { MethodDefinition } from "../method/method.ts";
import { loraConfig } from "./config.ts";
import { convertAsIs } from "../frozen/convert.ts";
import { loraAdapterPlan, planLora, planLoraAlone } from "./plan.ts";
import { type LoraSettings, loraTraining } from "./train.ts";

/** LoRA (Hu et al., arXiv:2106.09685), rsLoRA and rank patterns among it. */
export const lora: MethodDefinition<LoraSettings> = {
  name: "lora",
  title: "LoRA",
  peftTypes: ["LORA"],
  isOwn: ({ use_dora }) => use_dora !== true,
  shared: [],
  check: loraConfig,
  plan: (adapter, base, options) =>
    loraAdapterPlan(planLora(adapter, base), unusedGenerator(adapter, options, "LoRA, which has no random bases")),
  planAlone: planLoraAlone,
  convert: convertAsIs("LoRA, which has no random bases"),
  training: loraTraining,
};
