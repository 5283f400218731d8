import { Dropout } from "./parameters";
import { philoxFour } from "./philox";

/** Vectors that four blocks of bits decide about. */
const DRAWN: u32 = 8;

export function dropout(p: Dropout, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const threshold = i32x4.splat(p.threshold);
  const scale = f32x4.splat(p.scale);
  const stream = i32x4.splat(p.streamLow);
  const streamRest = i32x4.splat(p.streamHigh);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const x = p.x + row * p.xPitch;
    const y = p.y + row * p.yPitch;
    for (let first: u32 = 0; first < p.width; first += DRAWN) {
      const blocks = i32x4.add(i32x4.splat(first / 2), i32x4(0, 1, 2, 3));
      philoxFour(blocks, i32x4.splat(row), stream, streamRest, p.keyLow, p.keyHigh, scratch);
      for (let vector = first; vector < min(first + DRAWN, p.width); vector++) {
        const isKept = i32x4.ge_s(v128.load16x4_u(scratch + (vector - first) * 8), threshold);
        let value = v128.and(isKept, f32x4.mul(v128.load(x + vector * 16), scale));
        if (p.accumulate) value = f32x4.add(v128.load(y + vector * 16), value);
        v128.store(y + vector * 16, value);
      }
    }
  }
}
