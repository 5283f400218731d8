// One step of the optimizer: the norm of all gradients, and Adamw.
import { MOST_TERMS, sumOf } from "./lanes";
import { Adamw, GradientNorm, GradientSquares } from "./parameters";

// Words of the state that the commands of a step share; those of STEP_STATE.
const LOSS: usize = 0;
const NORM: usize = 4;
const COEFFICIENT: usize = 8;
const HALTED: usize = 12;

export function adamw(p: Adamw, piece: u32, scratch: usize): void {
  if (load<u32>(p.state + HALTED) != 0) return;
  const coefficient = f32x4.splat(load<f32>(p.state + COEFFICIENT));
  const first = piece * p.pieceVectors;
  const end = min(first + p.pieceVectors, p.vectors) * 16;
  for (let at: usize = first * 16; at < end; at += 16) {
    const g = f32x4.mul(v128.load(p.gradient + at), coefficient);
    const old = v128.load(p.mean + at);
    const m = f32x4.add(old, f32x4.mul(f32x4.splat(p.meanWeight), f32x4.sub(g, old)));
    const kept = f32x4.mul(v128.load(p.square + at), f32x4.splat(p.squareKeep));
    const v = f32x4.add(kept, f32x4.mul(f32x4.mul(f32x4.splat(p.squareWeight), g), g));
    const root = f32x4.div(f32x4.sqrt(v), f32x4.splat(p.correction));
    const step = f32x4.div(f32x4.mul(f32x4.splat(p.stepSize), m), f32x4.add(root, f32x4.splat(p.epsilon)));
    const value = f32x4.mul(v128.load(p.value + at), f32x4.splat(p.keep));
    v128.store(p.value + at, f32x4.sub(value, step));
    v128.store(p.mean + at, m);
    v128.store(p.square + at, v);
    v128.store(p.gradient + at, f32x4.splat(0));
  }
}

export function gradientSquares(p: GradientSquares, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceVectors, p.vectors);
  let total = f32x4.splat(0);
  for (let first = piece * p.pieceVectors; first < end; first += MOST_TERMS) {
    let sum = f32x4.splat(0);
    const stop = min(first + MOST_TERMS, end) * 16;
    for (let at: usize = first * 16; at < stop; at += 16) {
      const g = v128.load(p.gradient + at);
      sum = f32x4.add(sum, f32x4.mul(g, g));
    }
    total = f32x4.add(total, sum);
  }
  store<f32>(p.sums + piece * 4, sumOf(total));
}

export function gradientNorm(p: GradientNorm, piece: u32, scratch: usize): void {
  let total: f32 = 0;
  for (let first: u32 = 0; first < p.count; first += MOST_TERMS) {
    let sum: f32 = 0;
    for (let at = first; at < min(first + MOST_TERMS, p.count); at++) sum += load<f32>(p.sums + at * 4);
    total += sum;
  }
  const norm = sqrt<f32>(total);
  store<f32>(p.state + NORM, norm);
  const coefficient: f32 = p.clip > 0 ? min<f32>(1, p.clip / (norm + <f32>1e-6)) : 1;
  store<f32>(p.state + COEFFICIENT, coefficient);
  if (!isFinite<f32>(load<f32>(p.state + LOSS)) || !isFinite<f32>(norm)) store<u32>(p.state + HALTED, 1);
}
