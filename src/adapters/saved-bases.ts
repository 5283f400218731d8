import { RandloraError } from "../errors.ts";
import { oneLine } from "../files/failure.ts";
import type { ConversionWish } from "./method.ts";
import type { Adapter, AdapterTensor } from "./types.ts";

/** A pair of random matrices as a file holds it. */
export interface SavedTensors {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
}

/** What a conversion knows of an adapter's random matrices. */
export interface KnownBases {
  /** What draws them; undefined: nobody knows. */
  readonly generator: string | undefined;
  /** Does the file hold them? */
  readonly saved: boolean;
  /** Does PEFT draw the same? */
  readonly peftDraws: boolean;
}

/** Throws `RandloraError` "adapter" where leaving the bases out of the result would lose them. */
export function requireRedrawable(
  { path }: Adapter,
  { to }: Pick<ConversionWish, "to">,
  { generator, saved, peftDraws }: KnownBases,
): void {
  if (generator === undefined && saved) {
    const cause = `${oneLine(path)}: no known generator draws its bases, so leaving them out would lose them`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
  if (to === "peft" && generator !== undefined && !peftDraws) {
    const cause = `${oneLine(path)}: PEFT cannot draw its bases (${generator})`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
}

/** The error for a file that holds other bases than those that it records. */
export function notAsRecorded({ file }: Adapter, generator: string): RandloraError {
  const cause = `${oneLine(file)}: the bases that it holds are not those that it records (${generator})`;
  return new RandloraError("adapter", cause, "the file was changed after it was written: use the original");
}

/** The tensors with this pair of bases in place of what was there, first as PEFT has it; or without any. */
export function withBases(
  tensors: readonly AdapterTensor[],
  pair: SavedTensors | undefined,
  isBases: (name: string) => boolean,
): AdapterTensor[] {
  const others = tensors.filter(({ name }) => !isBases(name));
  return pair === undefined ? others : [pair.a, pair.b, ...others];
}
