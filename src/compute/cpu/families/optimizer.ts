import type { DeviceBuffer } from "../../device/buffer.ts";
import { type AdamWStep, type GradientNorm, STEP_STATE_BYTES } from "../../device/families/optimizer.ts";
import type { Dispatcher } from "../dispatcher.ts";
import type { Pointer } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";

/** torch.optim.AdamW's _single_tensor_adam, operation by operation; gradients are zero afterwards. */
export const ADAMW = cpuKernel("adamw", {
  vectors: "u32",
  value: "pointer",
  gradient: "pointer",
  mean: "pointer",
  square: "pointer",
  state: "pointer",
  keep: "f32",
  meanWeight: "f32",
  squareKeep: "f32",
  squareWeight: "f32",
  correction: "f32",
  epsilon: "f32",
  stepSize: "f32",
  pieceVectors: "u32",
});

/** Vectors of 4 of a piece; sums of squares are cut by it, so it follows from nothing. */
const PIECE_VECTORS = 4096;

/** Numbers that one command takes: a tensor whose roles do not fit one heap is copied to one in parts of this size. */
const MOST = 2 ** 21;

export function adamw(on: Dispatcher, operands: AdamWStep): void {
  const { size, value, gradient, mean, square, state, ...scalars } = operands;
  for (let first = 0; first < size; first += MOST) {
    const count = Math.min(MOST, size - first);
    const part = (buffer: DeviceBuffer): Pointer => {
      return { buffer, offset: first * 4, size: count * 4, access: "write" };
    };
    on.dispatch(
      ADAMW,
      {
        vectors: count / 4,
        value: part(value),
        gradient: part(gradient),
        mean: part(mean),
        square: part(square),
        state: stateOf(state, "read"),
        ...scalars,
        pieceVectors: PIECE_VECTORS,
      },
      Math.ceil(count / 4 / PIECE_VECTORS),
    );
  }
}

/** The sum of the squares of each piece of a flat array. */
export const GRADIENT_SQUARES = cpuKernel("gradientSquares", {
  vectors: "u32",
  gradient: "pointer",
  sums: "pointer",
  pieceVectors: "u32",
});

/** The norm from those sums, what clipping multiplies by (torch's clip_grad_norm_), and whether training must halt. */
export const GRADIENT_NORM = cpuKernel("gradientNorm", {
  count: "u32",
  /** 0: gradients are left as they are. */
  clip: "f32",
  sums: "pointer",
  state: "pointer",
});

export function gradientNorm(on: Dispatcher, { gradients, clip, state }: GradientNorm): void {
  const counts = gradients.map(({ size }) => Math.ceil(size / 4 / PIECE_VECTORS));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const sums = on.memory.allocate("sums of squares", Math.max(1, total) * 4);
  let first = 0;
  gradients.forEach(({ buffer, size }, index) => {
    const count = counts[index] ?? 0;
    on.dispatch(
      GRADIENT_SQUARES,
      {
        vectors: size / 4,
        gradient: { buffer, offset: 0, size: size * 4, access: "read" },
        sums: { buffer: sums, offset: first * 4, size: count * 4, access: "write" },
        pieceVectors: PIECE_VECTORS,
      },
      count,
    );
    first += count;
  });
  const all = { buffer: sums, offset: 0, size: total * 4, access: "read" } as const;
  on.dispatch(GRADIENT_NORM, { count: total, clip, sums: all, state: stateOf(state, "write") }, 1);
  on.memory.release(sums);
}

function stateOf(buffer: DeviceBuffer, access: Pointer["access"]): Pointer {
  return { buffer, offset: 0, size: STEP_STATE_BYTES, access };
}
