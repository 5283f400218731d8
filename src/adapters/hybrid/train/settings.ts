import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { loraTraining } from "../../lora/train/training.ts";
import { RANDLORA_SETTINGS, resolveRandlora } from "../../randlora/train/settings.ts";
import type { Variant } from "../../randlora/peft-types.ts";
import { HYBRID_VARIANTS } from "../config.ts";

const isPart = (variant: Variant) => HYBRID_VARIANTS.some((one) => one === variant);

// A sum of methods has no magnitudes.
const { dora: _, ...RANDLORA } = RANDLORA_SETTINGS;

/** RandLoRA's settings, and of the LoRA beside it. `rank` and `alpha` are RandLoRA's; the LoRA's α is twice its rank. */
export const HYBRID_SETTINGS = {
  ...RANDLORA,
  ...loraTraining.settings,
  variant: v.pipe(RANDLORA.variant, v.check(isPart)),
  loraRank: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** The LoRA that the run begins with stays as it is. */
  freezeLora: v.boolean(),
} as const;

export type HybridSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof HYBRID_SETTINGS, undefined>>>;

/** Defaults for what was not given. @throws RandloraError `usage` as RandLoRA does, and for variants that are no part of a sum */
export function resolveHybrid(given: Partial<HybridSettings>): HybridSettings {
  const { loraRank = loraTraining.usual.rank, freezeLora = false } = given;
  const { dora: _, ...randlora } = resolveRandlora(given);
  if (!isPart(randlora.variant)) {
    const cause = `--variant ${randlora.variant} has no meaning with --method hybrid`;
    throw new RandloraError("usage", cause, `there are: ${HYBRID_VARIANTS.join(", ")}`);
  }
  const { rslora = false } = given;
  return { ...randlora, ...loraTraining.resolve({ rslora }), loraRank, freezeLora };
}
