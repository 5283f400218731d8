// Causal convolutions of columns, each by itself, that go on behind the last inputs of a text.
import { TailConvolution } from "./parameters";

/** A tap of four columns. */
// @ts-ignore: decorator
@inline
function tapOf(p: TailConvolution, col: u32, tap: u32): v128 {
  const at = p.weight + (col * p.taps + tap) * 4;
  const next: usize = p.taps * 4;
  return f32x4(load<f32>(at), load<f32>(at + next), load<f32>(at + 2 * next), load<f32>(at + 3 * next));
}

export function tailConvolution(p: TailConvolution, piece: u32, scratch: usize): void {
  const from: u32 = p.rows ? piece / p.pieces : 0;
  const tokens: u32 = p.rows ? 1 : p.tokens;
  const begin = p.rows ? load<u32>(p.rows + from * 4) : p.firstPosition;
  const first = p.first ? load<u32>(p.first + from * 4) : 0;
  const before = begin - first;
  const kept = p.taps - 1;
  const old = p.tails + (before == 0 ? 0 : (begin - 1) / p.block) * p.tailsPitch;
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const end = min(firstCol + p.pieceCols, p.cols);
  for (let col = firstCol; col < end; col += 4) {
    const x = p.x + from * p.xPitch + col * 4;
    for (let token: u32 = 0; token < tokens; token++) {
      const seen = min(p.taps, before + token + 1);
      let sum = f32x4.splat(0);
      for (let back: u32 = 0; back < seen; back++) {
        const input = back <= token ? x + (token - back) * p.xPitch : old + ((kept + token - back) * p.cols + col) * 4;
        sum = f32x4.add(sum, f32x4.mul(tapOf(p, col, kept - back), v128.load(input)));
      }
      v128.store(p.y + (from + token) * p.yPitch + col * 4, sum);
    }
    // What follows needs the last inputs. From the oldest on: they may move up within their row.
    for (let token: u32 = 0; token < tokens; token++) {
      const row = begin + token;
      if (token + 1 < tokens && (row + 1) % p.block != 0) continue;
      const to = p.tails + (row / p.block) * p.tailsPitch + col * 4;
      for (let entry: u32 = 0; entry < kept; entry++) {
        const back = kept - 1 - entry;
        if (back > before + token) continue;
        const input = back <= token ? x + (token - back) * p.xPitch : old + ((kept + token - back) * p.cols + col) * 4;
        v128.store(to + entry * p.cols * 4, v128.load(input));
      }
    }
  }
}
