// What sums of B̂'s rows with Ŝ have in common, whether they are products or not: panels of Ŝ, and where the sums go.
import { DELTA_TARGET, SCALED_TERMS } from "../../families/words.ts";
import type { ByWord } from "../../parameters.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { fours, PLAIN, setRows, storeSums, type Target } from "./tiles.ts";

/** Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]). */
type ScaledTerms = ByWord<typeof SCALED_TERMS, number>;

/** Where sums of ΔW go. */
interface DeltaTarget extends Target {
  readonly transposed: boolean;
}

export function scaledTermsOf(at: ByWord<typeof SCALED_TERMS, number>, word: ParameterWords): ScaledTerms {
  return {
    fastCount: word(at.fastCount),
    lambda: word(at.lambda),
    fast: word(at.fast),
    fastPitch: word(at.fastPitch),
    slow: word(at.slow),
    slowPitch: word(at.slowPitch),
  };
}

export function deltaTargetOf(at: ByWord<typeof DELTA_TARGET, number>, word: ParameterWords): DeltaTarget {
  return {
    ...PLAIN,
    y: word(at.target),
    yPitch: word(at.targetPitch),
    scale: word(at.scale),
    accumulate: word(at.accumulate) !== 0,
    transposed: word(at.transposed) !== 0,
  };
}

/** A panel of Ŝ's columns; one row of the slow factor serves many terms. */
export function writeScaledPanel(
  on: Caller,
  p: ScaledTerms,
  first: number,
  terms: number,
  col: number,
  cols: number,
  panel: number,
): void {
  const { fastCount, fastPitch } = p;
  for (let done = 0; done < terms;) {
    const at = (first + done) % fastCount;
    const row = (first + done - at) / fastCount;
    const count = Math.min(fastCount - at, terms - done);
    const [lambda, slow] = [p.lambda + (first + done) * 4, p.slow + row * p.slowPitch + col * 4];
    const fast = p.fast + at * fastPitch + col * 4;
    on.call(
      on.routines.scaled,
      lambda,
      slow,
      fast,
      fastPitch,
      count,
      fours(cols),
      panel + done * on.code.panelCols * 4,
    );
    done += count;
  }
}

/**
 * Takes a panel's sums over into the target; where B̂'s rows run along its columns they are turned around first, some at a time.
 * @param turned room for as many rows as a panel has columns
 */
export function storeDelta(
  on: Caller,
  p: DeltaTarget,
  row: number,
  rows: number,
  col: number,
  cols: number,
  isFirst: boolean,
  sums: number,
  turned: number,
): void {
  const bytes = on.code.panelCols * 4;
  if (!p.transposed) {
    storeSums(on, sums, bytes, rows, cols, p, row, col, isFirst);
    return;
  }
  for (let at = 0; at < rows; at += on.code.panelCols) {
    const count = Math.min(on.code.panelCols, rows - at);
    setRows(on, sums + at * bytes, bytes, count, on.code.panelCols);
    on.call(on.routines.panelFromRows.F32, 0, cols, turned, turned);
    storeSums(on, turned, bytes, cols, count, p, col, row + at, isFirst);
  }
}
