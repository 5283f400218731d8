import type { MethodDefinition } from "../method.ts";
import { parsePrancConfig } from "./config.ts";
import { convertPranc } from "./convert.ts";
import { prancAdapterPlan } from "./deltas.ts";
import { planPranc } from "./plan.ts";
import type { PrancSettings } from "./train/settings.ts";
import { prancTraining } from "./train/training.ts";

/** PRANC (Nooralinejad et al., arXiv:2206.08464), for fine-tuning: ΔW of all layers together is a sum of random networks. */
export const pranc: MethodDefinition<PrancSettings> = {
  name: "pranc",
  title: "PRANC",
  peftTypes: ["PRANC"],
  ownTypes: ["PRANC"],
  shared: [],
  check: (config, file) => void parsePrancConfig(config, file),
  plan: (adapter, base, options) => prancAdapterPlan(planPranc(adapter, base, options)),
  convert: convertPranc,
  training: prancTraining,
};
