// What a product of a few rows that are normalized first begins with: what `rmsNorm` would do, by its own function, hence the same
// bits. The product is machine code's.
import { normalize } from "./norms";
import { NormedGemm } from "./parameters";

// Where in the scratch.
const ROWS: usize = 2 ** 19;

/** Normalizes the rows into this worker's scratch. */
export function normedRows(p: NormedGemm, piece: u32, scratch: usize): void {
  const pitch = <usize>((p.terms + 3) & ~3) * 4;
  for (let row: u32 = 0; row < p.rows; row++) {
    const to = scratch + ROWS + row * pitch;
    let x = p.a + row * p.aPitch;
    if (p.branch) {
      normalize(p.branch + row * p.branchPitch, p.branchWeight, p.terms, p.offset, p.epsilon, to);
      for (let at: usize = 0; at < pitch; at += 16) {
        v128.store(to + at, f32x4.add(v128.load(x + at), v128.load(to + at)));
      }
      // The first piece of all is somebody's first.
      if (piece == 0) memory.copy(p.sum + row * p.sumPitch, to, pitch);
      x = to;
    }
    normalize(x, p.weight, p.terms, p.offset, p.epsilon, to);
  }
}
