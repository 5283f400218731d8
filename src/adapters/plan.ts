import type { GeneratorName } from "../random/names.ts";
import { oneLine } from "../safetensors/failure.ts";
import type { BaseModel } from "./base.ts";
import { loraAdapterPlan } from "./lora/deltas.ts";
import { planLora } from "./lora/plan.ts";
import type { AdapterPlan } from "./plan-types.ts";
import { randloraAdapterPlan } from "./randlora/deltas.ts";
import { planRandlora } from "./randlora/plan.ts";
import type { Adapter } from "./types.ts";

export type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "./plan-types.ts";

/** What a user says of the adapters to be applied. */
export interface PlanOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Is this one of several adapters? Then `--generator` may be meant for another. */
  readonly amongOthers?: boolean;
}

/**
 * Fits an adapter of any method to a base. Throws `RandloraError` "adapter" with the reason when it cannot be applied,
 * "usage" when `--generator` contradicts it.
 */
export function planAdapter(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): AdapterPlan {
  const { generator, amongOthers = false } = options;
  const { method } = adapter;
  switch (method.kind) {
    case "randlora":
      return randloraAdapterPlan(planRandlora(adapter, method.config, base, generator, amongOthers));
    case "lora": {
      const unused = `${oneLine(adapter.path)} is a LoRA, which has no random bases: --generator has no effect`;
      return loraAdapterPlan(
        planLora(adapter, method.config, base),
        generator === undefined || amongOthers ? [] : [unused],
      );
    }
  }
}
