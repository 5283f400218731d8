import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../files/failure.ts";
import type { BaseModel } from "./base.ts";
import { lora } from "./lora/method.ts";
import type { JsonObject } from "../files/lossless-json.ts";
import type { MethodDefinition } from "./method.ts";
import type { AdapterPlan, PlanOptions } from "./plan.ts";
import { randlora } from "./randlora/method.ts";
import type { Adapter } from "./types.ts";

/** Every method; a new one is a folder and a line here. */
export const METHODS: readonly MethodDefinition[] = [randlora, lora];

/**
 * The method of an adapter's configuration, by its `peft_type`. `file` is named in errors.
 * Throws `RandloraError` "adapter" for one that cannot be applied, "format" where the key is missing.
 */
export function methodOf(config: JsonObject, file: string): MethodDefinition {
  const type = config["peft_type"];
  if (typeof type !== "string") {
    const hint = "an adapter_config.json as PEFT writes it is needed";
    throw new RandloraError("format", `${oneLine(file)}: "peft_type" is missing or not a string`, hint);
  }
  const method = METHODS.find(({ peftTypes }) => peftTypes.includes(type));
  if (method !== undefined) return method;
  const hint = `supported: ${METHODS.flatMap(({ peftTypes }) => peftTypes).join(", ")}`;
  throw new RandloraError("adapter", `${oneLine(file)}: peft_type ${quote(type)} cannot be applied`, hint);
}

/** The method of an open adapter. */
export function methodOfAdapter({ config, configFile }: Adapter): MethodDefinition {
  return methodOf(config, configFile);
}

/** Fits an adapter of any method to a base; see {@link MethodDefinition.plan}. */
export function planAdapter(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): AdapterPlan {
  return methodOfAdapter(adapter).plan(adapter, base, options);
}
