import { namedSet } from "../index.ts";
import type { LaidOutSet } from "../types.ts";

/** A set that has a layout of its own. */
export function laidOut(name: string): LaidOutSet {
  const set = namedSet(name);
  if (set.open !== undefined) return set;
  throw new TypeError(`${name} has no layout of its own`);
}
