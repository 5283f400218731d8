import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import type { AppliedAdapter } from "../loaded-adapter.ts";
import { type COMBINE_CHOICES, type Combination, electsSign, isRandom, type MajoritySign } from "./names.ts";
import { combinePlans } from "./plans.ts";

/** How several adapters become one ΔW. */
export interface CombineWish {
  readonly how: Combination;
  /** Parts of each ΔW to keep, one for all or one an adapter; not of a sum. */
  readonly densities: readonly number[];
  /** Where signs are elected; `total` by default. */
  readonly majoritySign?: MajoritySign | undefined;
  /** Where elements are kept at random; 0 by default. */
  readonly seed?: number | undefined;
}

/** What `randlora merge` is told of it. */
export interface CombineFlags {
  readonly combine: (typeof COMBINE_CHOICES)[number];
  readonly density: readonly number[];
  readonly majoritySign: MajoritySign | undefined;
  readonly seed: number | undefined;
}

/** @throws RandloraError `usage` where an option is missing, or has no meaning for the combination */
export function combineWish({ combine, density, majoritySign, seed }: CombineFlags): CombineWish {
  const how = combine === "dare" ? "dare-linear" : combine;
  if (how !== "sum" && density.length === 0) {
    const hint = "give the part of each ΔW to keep: --density 0.2, once for all or once for each ADAPTER";
    throw new RandloraError("usage", `--combine ${combine} needs --density`, hint);
  }
  const idle = [
    how === "sum" && density.length > 0 ? "density" : undefined,
    !electsSign(how) && majoritySign !== undefined ? "majoritySign" : undefined,
    !isRandom(how) && seed !== undefined ? "seed" : undefined,
  ].find((option) => option !== undefined);
  if (idle !== undefined) {
    const name = idle === "majoritySign" ? "majority-sign" : idle;
    const hint = "leave it out, or choose another --combine";
    throw new Contradiction([idle, "combine"], `--${name} has no meaning for --combine ${combine}`, hint);
  }
  return { how, densities: density, majoritySign, seed };
}

/**
 * Adapters as they are merged, with a factor for each.
 * @param weights of their ΔW, in their order
 * @throws RandloraError `usage` for a wish that makes no sense, and as `combinePlans`
 */
export function combining(
  plans: readonly AdapterPlan[],
  weights: readonly number[],
  { combine, adapters }: { readonly combine?: CombineWish | undefined; readonly adapters: readonly string[] },
): readonly AppliedAdapter[] {
  if (combine === undefined || combine.how === "sum") {
    return plans.map((plan, index) => ({ plan, factor: itemAt(weights, index) }));
  }
  const { how, densities, majoritySign = "total", seed = 0 } = combine;
  const parts = onePerAdapter("density", densities, adapters, 1);
  const options = { combination: how, majoritySign, weights, densities: parts, seed };
  return combinePlans(plans, options).map((plan) => ({ plan, factor: 1 }));
}

/**
 * Values of an option that is given once for all, or once for each adapter.
 * @throws RandloraError `usage` for another number of them
 */
export function onePerAdapter(
  option: string,
  values: readonly number[],
  adapters: readonly string[],
  absent: number,
): number[] {
  if (values.length > 1 && values.length !== adapters.length) {
    const counts = `${values.length} times for ${adapters.length} adapters`;
    throw new RandloraError("usage", `--${option} is given ${counts}`, "give it once, or once for each adapter");
  }
  return adapters.map((_, index) => values[index] ?? values[0] ?? absent);
}
