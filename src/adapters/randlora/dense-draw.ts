import type { BasisStorage } from "./storage.ts";

/** How the elements of one dense matrix are drawn, measured, divided by their standard deviation, and stored. */
export interface DenseDraw<Raw, Final> {
  /** Room for raw elements, in the order of drawing. */
  stage(length: number): Raw;
  /** Zeroed room for final elements. */
  allocate(length: number): Final;
  /** Turns `count` draws into raw elements at `out[at..]`. */
  map(draws: Uint32Array, count: number, out: Raw, at: number): void;
  /** Adds raw elements `from..to` to the statistics. */
  measure(raw: Raw, from: number, to: number): void;
  /** The standard deviation (n − 1) of everything measured, in the drawn dtype. */
  std(): number;
  /** Makes raw elements `from..to` final, in place. */
  divide(raw: Raw, from: number, to: number, std: number): void;
  /** Stores `count` elements from `raw[from..]` at `final[at..]`. */
  place(raw: Raw, from: number, count: number, final: Final, at: number): void;
  /** Makes elements that were placed raw final. Absent where raw elements cannot be placed: then the std must come first. */
  divideLater?(final: Final, std: number): void;
  storage(final: Final): BasisStorage;
  /** Final elements, widened. */
  singles(raw: Raw): Float32Array<ArrayBuffer>;
}
