import { unusedGenerator } from "../method/fit.ts";
import { convertAsIs } from "../frozen/convert.ts";
import type { MethodDefinition } from "../method/method.ts";
import { nolaConfig, PEFT_TYPE } from "./config.ts";
import { drawsOf, GENERATOR } from "./draws.ts";
import { nolaAdapterPlan, planNola } from "./plan.ts";
import { type NolaSettings, nolaTraining } from "./train.ts";

/** NoLA (Koohpayegani et al., arXiv:2310.02556): a LoRA whose factors are sums of random ones. */
export const nola: MethodDefinition<NolaSettings> = {
  name: "nola",
  title: "NoLA",
  peftTypes: [PEFT_TYPE],
  ownTypes: [PEFT_TYPE],
  shared: [],
  check: nolaConfig,
  plan: (adapter, base, options) =>
    nolaAdapterPlan(planNola(adapter, base), unusedGenerator(adapter, options, "NoLA and records what draws it")),
  convert: convertAsIs("NoLA, whose random factors are never stored", (adapter) => {
    drawsOf(adapter, nolaConfig(adapter));
    return GENERATOR;
  }),
  training: nolaTraining,
};
