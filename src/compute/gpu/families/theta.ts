import type { Binding } from "../../device/buffer.ts";
import type { DeltaBlock } from "../../device/families/delta.ts";
import { THETA_BLOCK, THETA_UNIT, type ThetaDelta, type ThetaGradient } from "../../device/families/theta.ts";
import { sliceRows, type Tensor } from "../../device/tensor.ts";
import { stridedSums } from "./strided-sums.ts";
import { THETA_DELTA_KERNEL, THETA_GRADIENT_KERNEL, THETA_THREADS, THETA_TILE } from "../kernels/theta.ts";
import { bind, rowBlocks } from "../bindings.ts";
import { addedParts } from "../../device/families/strided-sums.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";

/** Operations for each element that is drawn, and added to a sum. */
const DRAW_WORK = 12;

/** A position in the bases as a kernel takes it: low and high 32 bits. */
function positionWords(position: number): [number, number] {
  return [position % 2 ** 32, Math.floor(position / 2 ** 32)];
}

/** A target above the binding limit is taken in blocks of rows. */
export function thetaDelta(on: Dispatcher, operands: ThetaDelta): void {
  const { layer, transposed, block } = operands;
  const { target, at = 0, pitch, rows, firstRow } = block;
  const whole: Tensor = {
    shape: [rows, transposed ? layer.out : layer.in],
    dtype: "F32",
    buffer: target,
    offset: at,
    pitch,
  };
  for (const { first, rows: count, binding, offset } of rowBlocks(on, whole)) {
    someRows(on, operands, { ...block, firstRow: firstRow + first, rows: count, at: offset }, binding);
  }
}

/** A block of rows that can be bound. */
function someRows(on: Dispatcher, operands: ThetaDelta, block: DeltaBlock, target: Binding): void {
  const { layer, key, coefficients, transposed } = operands;
  const { out, in: input, offset, scale } = layer;
  const { firstRow, rows, at = 0, pitch, accumulate = false } = block;
  const alpha = bind(on, coefficients);
  const most = on.gpu.limits.maxComputeWorkgroupsPerDimension;
  const bases = coefficients.shape[1];
  const dispatch = (line: { count: number; begin: number; at: number; col: number; lines: number }) => {
    const whole = Math.ceil((line.count + THETA_BLOCK - 1) / THETA_BLOCK);
    on.dispatch(
      THETA_DELTA_KERNEL,
      {
        count: line.count,
        width: transposed ? 1 : input,
        pitch,
        targetAt: line.at,
        begin: positionWords(line.begin),
        lineStep: transposed ? input : 0,
        lineCol: line.col,
        cols: transposed ? out : input,
        bases,
        alphaAt: alpha.offset,
        accumulate,
        key,
        scale: scale * THETA_UNIT,
      },
      [alpha, target],
      [Math.ceil(whole / THETA_THREADS), line.lines],
      line.count * line.lines * bases * DRAW_WORK,
    );
  };
  if (transposed) {
    // A line a column of the target. Its rows are too few for more workgroups than an axis has.
    const atOnce = Math.min(most, rowsOfWork(rows * bases * DRAW_WORK, 1));
    for (let col = 0; col < out; col += atOnce) {
      const lines = Math.min(atOnce, out - col);
      dispatch({ count: rows, begin: offset + col * input + firstRow, at: at + col, col, lines });
    }
    return;
  }
  const fitting = Math.max(1, Math.floor(((most - 1) * THETA_THREADS * THETA_BLOCK) / input));
  const step = Math.min(fitting, rowsOfWork(input * bases * DRAW_WORK, 1));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row) * input;
    dispatch({ count, begin: offset + (firstRow + row) * input, at: at + row * pitch, col: 0, lines: 1 });
  }
}

/** Workgroups that keep a large graphics card busy. */
const BUSY = 2048;
/** Partial sums take at most this much, unless one slice is more. */
const MOST_PART_BYTES = 16 * 2 ** 20;

/** How the elements of a layer are divided among workgroups. */
interface Split {
  readonly slices: number;
  /** Rounds of a slice: so many times the blocks that a workgroup handles at once. */
  readonly rounds: number;
}

function split(elements: number, bases: number): Split {
  const all = Math.ceil((elements + THETA_BLOCK - 1) / (THETA_BLOCK * THETA_TILE.blocks));
  const rounds = Math.ceil(all / Math.min(all, mostSlices(bases)));
  return { slices: Math.ceil(all / rounds), rounds };
}

function mostSlices(bases: number): number {
  const busy = Math.ceil(BUSY / Math.ceil(bases / THETA_TILE.bases));
  return Math.max(1, Math.min(busy, Math.floor(MOST_PART_BYTES / (bases * 4))));
}

/** Bytes of partial sums that any layer takes at most. */
export function thetaPartBytes(bases: number): number {
  return mostSlices(bases) * bases * 4;
}

/** What is above the binding limit is taken in blocks of rows. */
export function thetaGradient(on: Dispatcher, { layer, key, g, target, parts }: ThetaGradient): void {
  const [rows, cols] = g.shape;
  const [, bases] = target.shape;
  const step = Math.min(rowBlocks(on, g)[0]?.rows ?? rows, rowsOfWork(cols * bases * DRAW_WORK, 1));
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const from = bind(on, sliceRows(g, first, count));
    const { slices, rounds } = split(count * cols, bases);
    on.dispatch(
      THETA_GRADIENT_KERNEL,
      {
        count: count * cols,
        width: cols,
        pitch: g.pitch,
        gAt: from.offset,
        begin: positionWords(layer.offset + first * cols),
        bases,
        rounds,
        key,
      },
      [from, parts],
      [Math.ceil(bases / THETA_TILE.bases), slices],
      count * cols * bases * DRAW_WORK,
    );
    const steps = { row: 0, col: 1, term: bases };
    stridedSums(on, addedParts(parts, slices, steps, target, layer.scale * THETA_UNIT));
  }
}
