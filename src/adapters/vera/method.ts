import type { MethodDefinition } from "../method/method.ts";
import { veraConfig } from "./config.ts";
import { VERA_FACTORS } from "./factors.ts";
import { convertFrozen } from "../frozen/convert.ts";
import { planVera, veraAdapterPlan } from "./plan.ts";
import { type VeraSettings, veraTraining } from "./train.ts";

/** VeRA (Kopiczko et al., arXiv:2310.11454): two random factors for all layers, and two trained vectors for each. */
export const vera: MethodDefinition<VeraSettings> = {
  name: "vera",
  title: "VeRA",
  peftTypes: ["VERA"],
  shared: VERA_FACTORS.shared,
  check: veraConfig,
  plan: (adapter, base, options) => veraAdapterPlan(planVera(adapter, base, options)),
  convert: (adapter, wish) =>
    convertFrozen(VERA_FACTORS, adapter, wish, { config: veraConfig(adapter), inPeft: true, saysSaved: true }),
  training: veraTraining,
};
