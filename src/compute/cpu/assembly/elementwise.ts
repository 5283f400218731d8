import { activate, EXPM1, GELU, GELU_TANH, QUICK_GELU, SAME, SIGMOID, SILU, slope } from "./activations";
import { capped4 } from "./math";
import { Elementwise, ElementwiseGradient } from "./parameters";

// The kinds of ELEMENTWISE in src/compute/device/families/elementwise.ts that are no activations.
const ADD: u32 = 0;
const SOFTCAP: u32 = 4;
const ACCUMULATE: u32 = 6;
const SCALE: u32 = 9;
const MULTIPLY: u32 = 10;
const CLAMPED: u32 = 12;
const GATED: u32 = 16;

export function elementwise(p: Elementwise, piece: u32, scratch: usize): void {
  if (p.kind == ADD) rowsOf(p, piece, ADD);
  else if (p.kind == SILU) rowsOf(p, piece, SILU);
  else if (p.kind == GELU_TANH) rowsOf(p, piece, GELU_TANH);
  else if (p.kind == GELU) rowsOf(p, piece, GELU);
  else if (p.kind == QUICK_GELU) rowsOf(p, piece, QUICK_GELU);
  else if (p.kind == EXPM1) rowsOf(p, piece, EXPM1);
  else if (p.kind == SOFTCAP) rowsOf(p, piece, SOFTCAP);
  else if (p.kind == SCALE) rowsOf(p, piece, SCALE);
  else if (p.kind == MULTIPLY) rowsOf(p, piece, MULTIPLY);
  else if (p.kind == ACCUMULATE) rowsOf(p, piece, ACCUMULATE);
  else if (p.kind == CLAMPED) rowsOf(p, piece, CLAMPED);
  else if (p.kind == GATED + SILU) rowsOf(p, piece, GATED + SILU);
  else if (p.kind == GATED + GELU_TANH) rowsOf(p, piece, GATED + GELU_TANH);
  else if (p.kind == GATED + GELU) rowsOf(p, piece, GATED + GELU);
  else if (p.kind == GATED + QUICK_GELU) rowsOf(p, piece, GATED + QUICK_GELU);
  else if (p.kind == GATED + SIGMOID) rowsOf(p, piece, GATED + SIGMOID);
  else rowsOf(p, piece, SAME);
}

/** 1 + x within ±cap. */
// @ts-ignore: decorator
@inline
function factor(x: v128, cap: v128): v128 {
  return f32x4.add(f32x4.splat(1), f32x4.max(f32x4.neg(cap), f32x4.min(x, cap)));
}

/** The loop of one kind, which is a constant. */
// @ts-ignore: decorator
@inline
function rowsOf(p: Elementwise, piece: u32, kind: u32): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const first = (piece % p.pieces) * p.pieceWidth;
  const bytes = <usize>(min(first + p.pieceWidth, p.width) - first) * 16;
  const cap = f32x4.splat(p.cap);
  for (let row = firstRow; row < lastRow; row++) {
    const a = p.a + row * p.aPitch + first * 16;
    const b = p.b + row * p.bPitch + first * 16;
    const y = p.y + row * p.yPitch + first * 16;
    for (let at: usize = 0; at < bytes; at += 16) {
      const x = v128.load(a + at);
      let value: v128;
      if (kind == ADD) value = f32x4.add(x, v128.load(b + at));
      else if (kind == SOFTCAP) value = capped4(x, cap);
      else if (kind == SCALE) value = f32x4.mul(x, cap);
      else if (kind == MULTIPLY) value = f32x4.mul(x, v128.load(b + at));
      else if (kind == ACCUMULATE) value = f32x4.add(v128.load(y + at), x);
      else if (kind == CLAMPED) value = f32x4.mul(activate(QUICK_GELU, f32x4.min(x, cap)), factor(v128.load(b + at), cap));
      else if (kind >= GATED) value = f32x4.mul(activate(kind - GATED, x), v128.load(b + at));
      else value = activate(kind, x);
      v128.store(y + at, value);
    }
  }
}

export function elementwiseGradient(p: ElementwiseGradient, piece: u32, scratch: usize): void {
  if (p.kind == SILU) slopesOf(p, piece, SILU);
  else if (p.kind == GELU_TANH) slopesOf(p, piece, GELU_TANH);
  else if (p.kind == GELU) slopesOf(p, piece, GELU);
  else if (p.kind == QUICK_GELU) slopesOf(p, piece, QUICK_GELU);
  else if (p.kind == EXPM1) slopesOf(p, piece, EXPM1);
  else if (p.kind == SOFTCAP) slopesOf(p, piece, SOFTCAP);
  else if (p.kind == CLAMPED) slopesOf(p, piece, CLAMPED);
  else if (p.kind == GATED + SILU) slopesOf(p, piece, GATED + SILU);
  else if (p.kind == GATED + GELU_TANH) slopesOf(p, piece, GATED + GELU_TANH);
  else if (p.kind == GATED + GELU) slopesOf(p, piece, GATED + GELU);
  else if (p.kind == GATED + QUICK_GELU) slopesOf(p, piece, GATED + QUICK_GELU);
  else if (p.kind == GATED + SIGMOID) slopesOf(p, piece, GATED + SIGMOID);
  else slopesOf(p, piece, SAME);
}

// @ts-ignore: decorator
@inline
function slopesOf(p: ElementwiseGradient, piece: u32, kind: u32): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const first = (piece % p.pieces) * p.pieceWidth;
  const bytes = <usize>(min(first + p.pieceWidth, p.width) - first) * 16;
  const cap = f32x4.splat(p.cap);
  const byCap = f32x4.splat(1 / p.cap);
  for (let row = firstRow; row < lastRow; row++) {
    const a = p.a + row * p.aPitch + first * 16;
    const b = p.b + row * p.bPitch + first * 16;
    const gradient = p.gradient + row * p.gradientPitch + first * 16;
    const da = p.da ? p.da + row * p.daPitch + first * 16 : 0;
    const db = p.db ? p.db + row * p.dbPitch + first * 16 : 0;
    for (let at: usize = 0; at < bytes; at += 16) {
      const x = v128.load(a + at);
      const g = v128.load(gradient + at);
      if (da) {
        let by: v128;
        if (kind == SOFTCAP) {
          const share = f32x4.mul(x, byCap);
          by = f32x4.mul(g, f32x4.sub(f32x4.splat(1), f32x4.mul(share, share)));
        } else if (kind == CLAMPED) {
          by = f32x4.mul(g, f32x4.mul(slope(QUICK_GELU, x), factor(v128.load(b + at), cap)));
          by = v128.andnot(by, f32x4.gt(x, cap));
        } else {
          by = f32x4.mul(g, slope(kind % GATED, x));
          if (kind >= GATED) by = f32x4.mul(by, v128.load(b + at));
        }
        v128.store(da + at, by);
      }
      if (kind == CLAMPED && db) {
        const by = f32x4.mul(g, activate(QUICK_GELU, f32x4.min(x, cap)));
        v128.store(db + at, v128.andnot(by, f32x4.gt(f32x4.abs(v128.load(b + at)), cap)));
      }
      if (kind >= GATED && db) v128.store(db + at, f32x4.mul(g, activate(kind % GATED, x)));
    }
  }
}
