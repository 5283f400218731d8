import { basesCount } from "../../../bases/bases.ts";

/** The sizes of one adapted module, all that follow from ΔW's shape and r. */
export interface ModuleShape {
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  readonly r: number;
  /** M = max(out, in): rows of B̂. */
  readonly rows: number;
  /** m = min(out, in): columns of A, γ and Ŝ. */
  readonly cols: number;
  /** n = ⌈m/r⌉. */
  readonly bases: number;
  /** n·r: columns of B̂, rows of Ŝ. */
  readonly terms: number;
  /** B̂'s rows run along the module's output: ΔW = scale · B̂Ŝ. Otherwise ΔW is the transpose of that. */
  readonly tall: boolean;
}

/** The sizes of a module whose ΔW is (out, in), with bases of rank r. */
export function moduleShape(out: number, input: number, r: number): ModuleShape {
  const cols = Math.min(out, input);
  const bases = basesCount(cols, r);
  return { out, in: input, r, rows: Math.max(out, input), cols, bases, terms: bases * r, tall: out >= input };
}
