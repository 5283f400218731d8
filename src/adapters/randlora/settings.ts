import * as v from "valibot";
import { Contradiction } from "../../files/errors.ts";
import { VARIANTS } from "./peft-types.ts";
import { BASES_SETTINGS } from "../training/bases-settings.ts";
import { canDraw, type GeneratorName, type Sparsity } from "../../compute/random/names.ts";

/** Settings that RandLoRA alone has. */
export const RANDLORA_SETTINGS = {
  /** The pairing of bases, how many, or what else ΔW is made of. */
  variant: v.picklist(VARIANTS),
  sparsity: v.picklist(["dense", "sparse", "very-sparse"]),
  ...BASES_SETTINGS,
  /** Train the magnitudes of the rows of W + ΔW as well. */
  dora: v.optional(v.boolean(), false),
} as const;

export type RandloraSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof RANDLORA_SETTINGS, undefined>>>;

/** Defaults for what was not given. @throws RandloraError `usage` for a generator that does not draw such bases, an order that there is not */
export function resolveRandlora(given: Partial<RandloraSettings>): RandloraSettings {
  const { variant = "peft", sparsity = "dense", basisSeed = "0", projections = true, compute = "auto" } = given;
  const { dora = false } = given;
  const { generator = usualGenerator(sparsity) } = given;
  if (generator !== null && !canDraw(generator, sparsity)) {
    const cause = `--generator ${generator} does not draw ${sparsity} bases`;
    const hint = `${usualGenerator(sparsity)} does, and so does philox-v1`;
    throw new Contradiction(["generator", "sparse", "verySparse"], cause, hint);
  }
  if (variant === "rank-r" && compute !== "auto") {
    const cause = `--compute ${compute}: --variant rank-r has one order of products, LoRA's`;
    throw new Contradiction(["compute", "variant"], cause, "leave --compute out");
  }
  return { variant, sparsity, basisSeed, generator, projections, compute, dora };
}

function usualGenerator(sparsity: Sparsity): GeneratorName {
  return sparsity === "dense" ? "torch-mt19937-bf16-v2" : "torch-mt19937-ternary";
}
