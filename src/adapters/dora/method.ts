import { withMagnitudes } from "../delta/magnitude/deltas.ts";
import { unusedGenerator } from "../method/fit.ts";
import { convertAsIs } from "../frozen/convert.ts";
import { loraConfig } from "../lora/config.ts";
import { lora } from "../lora/method.ts";
import { loraAdapterPlan, MAGNITUDE, planLora } from "../lora/plan.ts";
import type { LoraSettings } from "../lora/train.ts";
import type { MethodDefinition } from "../method/method.ts";
import { doraTraining } from "./train.ts";

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
