import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { describe, isShared, sharedName } from "../files/shared-tensors.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";
import { basesCount } from "../frozen/drawing/bases.ts";

/** The shared pair, as PEFT calls it. */
export const SHARED_BASES = ["randlora_A", "randlora_B"] as const;
export const SAVED_A = sharedName(SHARED_BASES[0]);
export const SAVED_B = sharedName(SHARED_BASES[1]);

/** The pair of bases that an adapter file holds: A (r, 1, min), B (max, ⌈min/r⌉, r). */
export interface SavedPair {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
  readonly max: number;
  readonly min: number;
}

/** Is this tensor a base: of the shared pair, or of PEFT's copies of it, one a layer? */
export function isBasesTensor(name: string): boolean {
  return isShared(name, { shared: SHARED_BASES });
}

/** The bases that an adapter holds, or `undefined`. Throws `RandloraError` "format" for half a pair or odd shapes. */
export function findSaved(adapter: Adapter, r: number): SavedPair | undefined {
  const a = adapter.tensors.get(SAVED_A);
  const b = adapter.tensors.get(SAVED_B);
  if (a === undefined && b === undefined) return undefined;
  const refuse = (cause: string) =>
    new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "A is (r, 1, min) and B (max, ⌈min/r⌉, r)");
  if (a === undefined || b === undefined) {
    throw refuse(`tensor ${quote(a === undefined ? SAVED_A : SAVED_B)} is missing beside the other of the pair`);
  }
  const [rank, one, min = 0] = a.shape;
  const [max = 0, n, rankB] = b.shape;
  const odd = a.shape.length !== 3 || b.shape.length !== 3 || min < 1 || max < min;
  if (odd || rank !== r || one !== 1 || rankB !== r || n !== basesCount(min, r)) {
    throw refuse(`bases of ${describe(a)} and ${describe(b)} do not fit r = ${r}`);
  }
  return { a, b, max, min };
}
