import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { loraAdapterPlan, planLora } from "../lora/plan.ts";
import type { AdapterPlan, PlanOptions } from "../method/plan.ts";
import { planRandlora, randloraAdapterPlan } from "../randlora/plan.ts";
import { sumOfPlans } from "../delta/sum-of-plans.ts";
import { loraPart, randloraPart } from "./config.ts";

/** Fits a hybrid adapter to a base. @throws RandloraError as its parts do; `format` where they are not of the same modules */
export function planHybrid(adapter: Adapter, base: BaseModel, options: PlanOptions): AdapterPlan {
  const randlora = randloraAdapterPlan(planRandlora(randloraPart(adapter), base, options));
  const factors = loraAdapterPlan(planLora(loraPart(adapter), base), []);
  const modules = ({ layers }: AdapterPlan) => layers.map(({ module }) => module);
  requireSameModules(adapter, modules(randlora), modules(factors));
  return sumOfPlans(adapter, [randlora, factors]);
}

/** Throws `RandloraError` "format" where a module, of those that each part adapts, has the tensors of one part alone. */
export function requireSameModules(adapter: Adapter, randlora: readonly string[], factors: readonly string[]): void {
  const [ours, theirs] = [new Set(randlora), new Set(factors)];
  const half = [...randlora, ...factors].find((module) => !ours.has(module) || !theirs.has(module));
  if (half === undefined) return;
  const missing = ours.has(half) ? "LoRA's factors" : "λ and γ";
  const cause = `${quote(half)} has no ${missing}, and has the other part's tensors`;
  throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
}
