import type { AdapterPlan } from "../plan.ts";
import type { Adapter } from "../adapter.ts";
import { loraConfig } from "./config.ts";
import { loraAdapterPlan } from "./deltas.ts";
import { loraFactors, type LoraLayer } from "./layers.ts";

/** A LoRA adapter without its base: the factors say how large each W is. @throws RandloraError as `loraFactors` */
export function planLoraAlone(adapter: Adapter): AdapterPlan {
  const config = loraConfig(adapter);
  const layers = loraFactors(adapter, config).map((factors): LoraLayer => {
    const [out = 0, input = 0] = [factors.b.shape[0], factors.a.shape[1]];
    const tensor = `${factors.module}.weight`;
    const weight = { tensor, source: tensor, dtype: "F32", shape: [out, input] } as const;
    return { ...factors, ...weight, out, in: input, conv1d: false };
  });
  return loraAdapterPlan({ adapter, config, layers, replacements: [] }, []);
}
