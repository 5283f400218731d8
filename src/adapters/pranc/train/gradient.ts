import { PARTIAL_SUMS_KERNEL, PARTIAL_SUMS_WIDTH, partialSumsParameters } from "../../../kernels/partial-sums.ts";
import type { Staging } from "../../../kernels/staging.ts";
import { THETA_BLOCK, thetaGradientKernel, thetaGradientParameters, thetaTile } from "../../../kernels/theta.ts";
import type { GpuBuffer } from "../../../gpu/memory.ts";
import { bind, rowBlocks } from "../../../tensor/row-blocks.ts";
import type { Run } from "../../../tensor/run.ts";
import { sliceRows, type Tensor } from "../../../tensor/tensor.ts";
import { positionWords, THETA_UNIT, type ThetaLayer } from "../delta-dispatch.ts";
import type { ThetaKey } from "../stream.ts";

/** Workgroups that keep a GPU busy: two cores, or a large graphics card. */
const BUSY = { subgroup: 32, workgroup: 2048 } as const;
/** Partial sums take at most this much, unless one slice is more. */
const MOST_PART_BYTES = 16 * 2 ** 20;

/** How the elements of a layer are divided among workgroups. */
interface Split {
  readonly slices: number;
  /** Rounds of a slice: so many times the blocks that a workgroup handles at once. */
  readonly rounds: number;
}

function split(elements: number, bases: number, staging: Staging): Split {
  const all = Math.ceil((elements + THETA_BLOCK - 1) / (THETA_BLOCK * thetaTile(staging).blocks));
  const rounds = Math.ceil(all / Math.min(all, mostSlices(bases, staging)));
  return { slices: Math.ceil(all / rounds), rounds };
}

function mostSlices(bases: number, staging: Staging): number {
  const busy = Math.ceil(BUSY[staging.kind] / Math.ceil(bases / thetaTile(staging).bases));
  return Math.max(1, Math.min(busy, Math.floor(MOST_PART_BYTES / (bases * 4))));
}

/** Bytes of partial sums that any layer takes at most. */
export function partBytes(bases: number, staging: Staging): number {
  return mostSlices(bases, staging) * bases * 4;
}

/** What dα is made of. */
export interface CoefficientGradient {
  readonly layer: ThetaLayer;
  readonly key: ThetaKey;
  /** G = ∂loss/∂ΔW (out, in), F32. */
  readonly g: Tensor;
  /** ∂loss/∂α (1, K), added to. */
  readonly target: Tensor;
  /** Scratch of at least `partBytes`. */
  readonly parts: GpuBuffer;
}

/** Records dα_i += scale · Σ_e G[e] · θ_i[e] over the elements of one layer. */
export function recordCoefficientGradient(run: Run, { layer, key, g, target, parts }: CoefficientGradient): void {
  const [rows, cols] = g.shape;
  const [, bases] = target.shape;
  const step = rowBlocks(run, g)[0]?.rows ?? rows;
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const from = bind(run, sliceRows(g, first, count));
    const { slices, rounds } = split(count * cols, bases, run.staging);
    run.dispatch(
      thetaGradientKernel(run.staging),
      thetaGradientParameters({
        count: count * cols,
        width: cols,
        pitch: g.pitch,
        gAt: from.offset,
        begin: positionWords(layer.offset + first * cols),
        bases,
        rounds,
        key,
      }),
      [from.binding, parts],
      [Math.ceil(bases / thetaTile(run.staging).bases), slices],
    );
    const to = bind(run, target);
    run.dispatch(
      PARTIAL_SUMS_KERNEL,
      partialSumsParameters({
        cols: bases,
        parts: slices,
        partStride: bases,
        rowStride: 0,
        colStride: 1,
        target: [to.offset, target.pitch],
        scale: layer.scale * THETA_UNIT,
      }),
      [parts, to.binding],
      [Math.ceil(bases / PARTIAL_SUMS_WIDTH), 1],
    );
  }
}
