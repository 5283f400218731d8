import type { BasisStorage } from "./storage.ts";

/** Which raw elements make up rows of the final matrix: in each row, `groups` runs of `length` elements, end to end. */
export interface Runs {
  readonly rows: number;
  readonly groups: number;
  readonly length: number;
  /** Raw elements from the run of one row to that of the next, and from one group to the next. */
  readonly rowStep: number;
  readonly groupStep: number;
  /** Final elements from row to row, and where the first row's first run goes. */
  readonly stride: number;
  readonly at: number;
}

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
  /** Stores raw elements row by row. */
  spread(raw: Raw, runs: Runs, final: Final): void;
  /** Makes elements that were stored raw final. Absent where raw elements cannot be stored: then the std must come first. */
  divideLater?(final: Final, std: number): void;
  storage(final: Final): BasisStorage;
  /** Final elements, widened. */
  singles(raw: Raw): Float32Array<ArrayBuffer>;
}
