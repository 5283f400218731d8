import type { Capacity, ModuleShape } from "./method/method.ts";

/** A method at the size that is nearest to a budget. */
export interface NearestSize {
  /** Of the setting that `capacity.setting` names. */
  readonly value: number;
  /** Numbers that are trained there. */
  readonly parameters: number;
}

/** Shapes of modules that the search looks at, counted at each value anew: less than a tenth of a second. */
const MOST_LOOKS = 2 ** 20;
/** Behind the values that are all tried they grow by one part in so many. */
const FINENESS = { least: 8, most: 256 } as const;

/**
 * The size at which a method's trainable parameters are nearest to a budget; of two equally near, the one
 * with fewer numbers, then the smaller value. Counts may fall with the value (RandLoRA's do) and go up and down by
 * their rounding: every value is tried, as long as there are not too many; beyond, counts are taken to rise or fall
 * steadily between the values that are tried.
 *
 * @param given the method's other settings, where they were said
 * @param most a largest value of the caller's own, beside the capacity's
 */
export function nearestSize<Own extends object>(
  capacity: Capacity<Own>,
  modules: readonly ModuleShape[],
  budget: number,
  given: Parameters<Capacity<Own>["count"]>[2] = {},
  most = Infinity,
): NearestSize {
  const own = capacity.most(modules);
  const limit = Math.max(1, Math.min(most, own, Number.MAX_SAFE_INTEGER));
  const alike = [...Map.groupBy(modules, ({ out, in: input, experts }) => `${out} ${input} ${experts}`).values()];
  const at = (value: number): NearestSize => {
    const shared = capacity.count([], value, given);
    const countOf = (some: readonly ModuleShape[]) =>
      some.length * (capacity.count(some.slice(0, 1), value, given) - shared);
    return { value, parameters: alike.reduce((sum, some) => sum + countOf(some), shared) };
  };
  const all = Math.max(1, Math.floor(MOST_LOOKS / Math.max(alike.length, 1) / 2));
  const fineness = Math.min(Math.max(all / 8, FINENESS.least), FINENESS.most);
  let last = at(1);
  let best = last;
  while (last.value < limit) {
    const step = last.value < all ? 1 : Math.ceil(last.value / fineness);
    const next = at(Math.min(last.value + step, limit));
    best = nearer(best, next, budget);
    if (step > 1) best = nearer(best, crossing(at, last, next, budget), budget);
    last = next;
    // Without an end of its own a setting adds numbers with each value.
    if (!Number.isFinite(own) && last.parameters >= budget) break;
  }
  return best;
}

/** The nearest between two values, if the budget is crossed there; else one of them. */
function crossing(at: (value: number) => NearestSize, from: NearestSize, to: NearestSize, budget: number): NearestSize {
  let [low, high] = [from, to];
  if (low.parameters >= budget === high.parameters >= budget) return low;
  while (high.value - low.value > 1) {
    const middle = at(Math.floor((low.value + high.value) / 2));
    if (middle.parameters >= budget === low.parameters >= budget) low = middle;
    else high = middle;
  }
  return nearer(low, high, budget);
}

function nearer(a: NearestSize, b: NearestSize, budget: number): NearestSize {
  const [distanceA, distanceB] = [Math.abs(a.parameters - budget), Math.abs(b.parameters - budget)];
  if (distanceA !== distanceB) return distanceB < distanceA ? b : a;
  return b.parameters < a.parameters ? b : a;
}
