// What sums of B̂'s rows with Ŝ have in common, whether they are products or not: panels of Ŝ, and where the sums go.
import { SCALED_TERMS, TARGET } from "../../families/words.ts";
import type { Caller } from "../caller.ts";
import { fours, setRows, storeSums } from "./tiles.ts";

/** Members of a kernel's parameters, as words. */
type Words<M> = { readonly [N in keyof M]: number };

/** Some members of a kernel's parameters. */
function read<M extends object>(members: M, at: Words<M>, word: (index: number) => number): Words<M> {
  const names = Object.keys(members) as (keyof M)[];
  return Object.fromEntries(names.map((name) => [name, word(at[name])])) as Words<M>;
}

/** Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]). */
export type ScaledTerms = Words<typeof SCALED_TERMS>;
export type DeltaTarget = Words<typeof TARGET>;

export function scaledTermsOf(at: ScaledTerms, word: (index: number) => number): ScaledTerms {
  return read(SCALED_TERMS, at, word);
}

export function deltaTargetOf(at: DeltaTarget, word: (index: number) => number): DeltaTarget {
  return read(TARGET, at, word);
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
  const { pitch, target, scale } = p;
  const bytes = on.code.panelCols * 4;
  const plain = { yPitch: pitch, scale, bias: 0, residual: 0, residualPitch: 0 };
  const adds = !isFirst || p.accumulate !== 0;
  if (p.transposed === 0) {
    storeSums(on, sums, bytes, rows, cols, { ...plain, adds, y: target + row * pitch + col * 4 });
    return;
  }
  for (let at = 0; at < rows; at += on.code.panelCols) {
    const count = Math.min(on.code.panelCols, rows - at);
    setRows(on, sums + at * bytes, bytes, count, on.code.panelCols);
    on.call(on.routines.panelFromRows.F32, 0, cols, turned);
    storeSums(on, turned, bytes, cols, count, { ...plain, adds, y: target + col * pitch + (row + at) * 4 });
  }
}
