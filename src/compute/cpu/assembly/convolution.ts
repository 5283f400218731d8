// Causal convolutions of columns, each by itself, over rows that a token sees.
import { MOST_TERMS } from "./lanes";
import { Convolution, ConvolutionRows, ConvolutionTaps } from "./parameters";

/** The numbers at `from + index · step` of the four columns from `col` on; 0 behind the last one. */
// @ts-ignore: decorator
@inline
function ofColumns(p: Convolution, from: usize, col: u32, step: u32, index: u32): v128 {
  const at = from + (col * step + index) * 4;
  const next: usize = step * 4;
  let four = f32x4.splat(load<f32>(at));
  four = f32x4.replace_lane(four, 1, col + 1 < p.cols ? load<f32>(at + next) : 0);
  four = f32x4.replace_lane(four, 2, col + 2 < p.cols ? load<f32>(at + 2 * next) : 0);
  return f32x4.replace_lane(four, 3, col + 3 < p.cols ? load<f32>(at + 3 * next) : 0);
}

// @ts-ignore: decorator
@inline
function firstOf(p: Convolution, token: u32): u32 {
  return p.first ? load<u32>(p.first + token * 4) : 0;
}

/** Times the gate, where there is one. */
// @ts-ignore: decorator
@inline
function gated(p: Convolution, token: u32, col: u32, value: v128): v128 {
  return p.gate ? f32x4.mul(v128.load(p.gate + token * p.gatePitch + col * 4), value) : value;
}

export function convolution(p: Convolution, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceRows, p.tokens);
  for (let token = piece * p.pieceRows; token < end; token++) {
    const last = p.last ? load<u32>(p.last + token * 4) : p.firstPosition + token;
    const seen = min(p.taps, last + 1 - firstOf(p, token));
    const x = p.x + last * p.xPitch;
    const y = p.y + token * p.yPitch;
    for (let col: u32 = 0; col < p.cols; col += 4) {
      let sum = p.bias ? ofColumns(p, p.bias, col, 1, 0) : f32x4.splat(0);
      for (let back: u32 = 0; back < seen; back++) {
        const weight = ofColumns(p, p.weight, col, p.taps, p.taps - 1 - back);
        sum = f32x4.add(sum, f32x4.mul(weight, v128.load(x - back * p.xPitch + col * 4)));
      }
      v128.store(y + col * 4, gated(p, token, col, sum));
    }
  }
}

/** dx of each row: what the tokens that see it make of it. */
export function convolutionRows(p: ConvolutionRows, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceRows, p.tokens);
  for (let row = piece * p.pieceRows; row < end; row++) {
    const after = min(p.taps, p.tokens - row);
    const y = p.y + row * p.yPitch;
    for (let col: u32 = 0; col < p.cols; col += 4) {
      let sum = f32x4.splat(0);
      for (let back: u32 = 0; back < after; back++) {
        const token = row + back;
        if (firstOf(p, token) > row) break;
        const dy = v128.load(p.dy + token * p.dyPitch + col * 4);
        const by = gated(p, token, col, dy);
        sum = f32x4.add(sum, f32x4.mul(by, ofColumns(p, p.weight, col, p.taps, p.taps - 1 - back)));
      }
      v128.store(y + col * 4, sum);
    }
  }
}

/** dweight of four columns. */
export function convolutionTaps(p: ConvolutionTaps, piece: u32, scratch: usize): void {
  const col = piece * 4;
  const lanes = min<u32>(4, p.cols - col);
  for (let tap: u32 = 0; tap < p.taps; tap++) {
    const back = p.taps - 1 - tap;
    let total = f32x4.splat(0);
    for (let begin: u32 = 0; begin < p.tokens; begin += MOST_TERMS) {
      let sum = f32x4.splat(0);
      const end = min(begin + MOST_TERMS, p.tokens);
      for (let token = begin; token < end; token++) {
        if (token < firstOf(p, token) + back) continue;
        const dy = v128.load(p.dy + token * p.dyPitch + col * 4);
        const by = gated(p, token, col, dy);
        sum = f32x4.add(sum, f32x4.mul(by, v128.load(p.x + (token - back) * p.xPitch + col * 4)));
      }
      total = f32x4.add(total, sum);
    }
    v128.store(scratch, total);
    for (let lane: u32 = 0; lane < lanes; lane++) {
      store<f32>(p.y + ((col + lane) * p.taps + tap) * 4, load<f32>(scratch + lane * 4));
    }
  }
  // What is behind the last one stays zero.
  if (col + 4 >= p.cols) for (let at = p.cols * p.taps; at & 3; at++) store<f32>(p.y + at * 4, 0);
}
