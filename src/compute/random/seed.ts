/** The seed that comes `by` after another, both whole and at least 0: after 2^53 − 1, the largest, comes 0. */
export function laterSeed(seed: number, by: number): number {
  const left = Number.MAX_SAFE_INTEGER - seed;
  return by > left ? by - left - 1 : seed + by;
}
