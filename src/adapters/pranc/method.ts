import { convertAsIs } from "../frozen/convert.ts";
import type { MethodDefinition } from "../method/method.ts";
import { prancConfig } from "./config.ts";
import { planPranc, prancAdapterPlan } from "./plan.ts";
import { PRANC_GENERATOR, prancRecord } from "./stream.ts";
import { type PrancSettings, prancTraining } from "./train.ts";

/** PRANC (Nooralinejad et al., arXiv:2206.08464), for fine-tuning: ΔW of all layers together is a sum of random networks. */
export const pranc: MethodDefinition<PrancSettings> = {
  name: "pranc",
  title: "PRANC",
  peftTypes: ["PRANC"],
  ownTypes: ["PRANC"],
  shared: [],
  check: prancConfig,
  plan: (adapter, base, options) => prancAdapterPlan(planPranc(adapter, base, options)),
  // Without its record the coefficients say nothing.
  convert: convertAsIs("PRANC, whose bases are as large as the model each", (adapter) => {
    prancRecord(adapter);
    return PRANC_GENERATOR;
  }),
  training: prancTraining,
};
