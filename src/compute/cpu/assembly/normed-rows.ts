// What a product of a few rows that are normalized first, and perhaps gated, begins and ends with: what `rmsNorm` and `elementwise`
// would do, by their own functions, hence the same bits. The product is machine code's.
import { activate, GELU, GELU_TANH, QUICK_GELU, SILU } from "./activations";
import { normalize } from "./norms";
import { NormedGemm } from "./parameters";

// Where in the scratch: products that are to be gated, the rows.
const PRODUCTS: usize = 2 ** 18 + 256;
const ROWS: usize = 2 ** 19;
/** log₂ of the bytes from one worker's scratch to the next one's. */
const SCRATCH_BITS: usize = 20;

/** The last step, of products that lie in scratch. */
export function gatedRows(p: NormedGemm, piece: u32, scratch: usize): void {
  const first = piece * p.pieceCols;
  const left = scratch + PRODUCTS;
  const right = left + p.rows * p.pieceCols * 4;
  if (p.gate == SILU) gateRows(p, first, left, right, SILU);
  else if (p.gate == GELU_TANH) gateRows(p, first, left, right, GELU_TANH);
  else if (p.gate == GELU) gateRows(p, first, left, right, GELU);
  else gateRows(p, first, left, right, QUICK_GELU);
}

/** The first step: normalizes the rows into this worker's scratch, once a command. */
export function normedRows(p: NormedGemm, piece: u32, scratch: usize): void {
  const pitch = <usize>((p.terms + 3) & ~3) * 4;
  const worker = <u32>(scratch >> SCRATCH_BITS);
  const bit: u32 = worker < 32 ? <u32>1 << worker : 0;
  const normalized = changetype<usize>(p) + offsetof<NormedGemm>("normalized");
  if (atomic.load<u32>(normalized) & bit) return;
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
  if (bit) atomic.or<u32>(normalized, bit);
}

/** y = f(left) · right; the kind is a constant. */
// @ts-ignore: decorator
@inline
function gateRows(p: NormedGemm, first: u32, left: usize, right: usize, kind: u32): void {
  const pitch = p.pieceCols * 4;
  const bytes = <usize>min(p.pieceCols, p.cols - first) * 4;
  for (let row: u32 = 0; row < p.rows; row++) {
    const y = p.y + row * p.yPitch + first * 4;
    for (let at: usize = 0; at < bytes; at += 16) {
      v128.store(y + at, f32x4.mul(activate(kind, v128.load(left + at)), v128.load(right + at)));
    }
    left += pitch;
    right += pitch;
  }
}
