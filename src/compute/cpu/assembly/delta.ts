// ΔW = scale · B̂ Ŝ in f32, whatever B̂ is stored as or drawn from.
import { basisRow, DRAWN_BYTES } from "./basis";
import { storeTile } from "./delta-target";
import { Basis, Delta, DeltaTarget, ScaledTerms } from "./parameters";
import { dots, endRun, RUN, RUN_TERMS } from "./runs";

/** The parts of the kernel's words that others work on. */
// @ts-ignore: decorator
@inline
function basisOf(p: Delta): Basis {
  return changetype<Basis>(changetype<usize>(p) + offsetof<Delta>("storage"));
}

// @ts-ignore: decorator
@inline
function scaledOf(p: Delta): ScaledTerms {
  return changetype<ScaledTerms>(changetype<usize>(p) + offsetof<Delta>("fastCount"));
}

// @ts-ignore: decorator
@inline
function targetOf(p: Delta): DeltaTarget {
  return changetype<DeltaTarget>(changetype<usize>(p) + offsetof<Delta>("rows"));
}

export function delta(p: Delta, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const rows = min(p.pieceRows, p.rows - firstRow);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const cols = min(p.pieceCols, p.cols - firstCol);
  const runs = scratch + DRAWN_BYTES;
  const column = runs + rows * RUN;
  const sums = column + RUN;
  const pitch = <usize>((cols + 3) & ~3) * 4;
  memory.fill(sums, 0, rows * pitch);
  for (let first: u32 = 0; first < p.terms; first += RUN_TERMS) {
    const terms = min(RUN_TERMS, p.terms - first);
    for (let row: u32 = 0; row < rows; row++) {
      const run = runs + row * RUN;
      basisRow(basisOf(p), p.firstRow + firstRow + row, first, terms, run, scratch);
      endRun(run, terms);
    }
    for (let col: u32 = 0; col < cols; col++) {
      scaledRun(scaledOf(p), first, terms, firstCol + col, column);
      dots(runs, rows, column, terms, sums + col * 4, pitch);
    }
    storeTile(targetOf(p), firstRow, rows, firstCol, cols, first == 0, sums, pitch);
  }
}

/** Terms of a column of Ŝ. */
function scaledRun(p: ScaledTerms, first: u32, terms: u32, col: u32, to: usize): void {
  let fast = first % p.fastCount;
  let slow = first / p.fastCount;
  for (let term: u32 = 0; term < terms; term++) {
    const product = load<f32>(p.slow + slow * p.slowPitch + col * 4) * load<f32>(p.fast + fast * p.fastPitch + col * 4);
    store<f32>(to + term * 4, load<f32>(p.lambda + (first + term) * 4) * product);
    if (++fast == p.fastCount) {
      fast = 0;
      slow++;
    }
  }
  endRun(to, terms);
}
