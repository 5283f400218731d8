import type { MethodDefinition } from "../method.ts";
import { parseVeraConfig } from "./config.ts";
import { convertVera } from "./convert.ts";
import { planVera, veraAdapterPlan } from "./plan.ts";
import { SHARED_FACTORS } from "./saved.ts";
import type { VeraSettings } from "./train/settings.ts";
import { veraTraining } from "./train/training.ts";

/** VeRA (Kopiczko et al., arXiv:2310.11454): two random factors for all layers, and two trained vectors for each. */
export const vera: MethodDefinition<VeraSettings> = {
  name: "vera",
  title: "VeRA",
  peftTypes: ["VERA"],
  shared: SHARED_FACTORS,
  check: (config, file) => void parseVeraConfig(config, file),
  plan: (adapter, base, options) => veraAdapterPlan(planVera(adapter, base, options)),
  convert: convertVera,
  training: veraTraining,
};
