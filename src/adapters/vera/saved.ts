import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { describe, isShared, sharedName } from "../files/shared-tensors.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";

/** The shared factors, as PEFT calls them. */
export const SHARED_FACTORS = ["vera_A", "vera_B"] as const;
export const SAVED_A = sharedName(SHARED_FACTORS[0]);
export const SAVED_B = sharedName(SHARED_FACTORS[1]);

/** The factors that an adapter file holds: A (r, maxIn), B (maxOut, r). */
export interface SavedFactors {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
  readonly maxIn: number;
  readonly maxOut: number;
}

/** Is this tensor a factor, or a layer's copy of it? */
export function isFactorTensor(name: string): boolean {
  return isShared(name, { shared: SHARED_FACTORS });
}

/** The factors that an adapter holds, or `undefined`. Throws `RandloraError` "format" for one of them alone or odd shapes. */
export function findSaved(adapter: Adapter, r: number): SavedFactors | undefined {
  const a = adapter.tensors.get(SAVED_A);
  const b = adapter.tensors.get(SAVED_B);
  if (a === undefined && b === undefined) return undefined;
  const refuse = (cause: string) =>
    new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "A is (r, max_in) and B (max_out, r)");
  if (a === undefined || b === undefined) {
    throw refuse(`tensor ${quote(a === undefined ? SAVED_A : SAVED_B)} is missing beside the other of the pair`);
  }
  const [rank, maxIn = 0] = a.shape;
  const [maxOut = 0, rankB] = b.shape;
  const odd = a.shape.length !== 2 || b.shape.length !== 2 || maxIn < 1 || maxOut < 1;
  if (odd || rank !== r || rankB !== r)
    throw refuse(`factors of ${describe(a)} and ${describe(b)} do not fit r = ${r}`);
  return { a, b, maxIn, maxOut };
}
