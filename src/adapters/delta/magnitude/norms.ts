import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, sliceRows, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import { BLOCK_ROWS } from "../../../compute/device/families/delta.ts";
import type { FormedWeights } from "../../method/training.ts";

/** ΔW is formed in blocks of rows of about this much. */
const BLOCK_BYTES = 8 * 2 ** 20;

/** A module whose rows are rescaled. */
export interface NormedModule {
  readonly name: string;
  /** W (out, in): rows of the decoder's matrix. */
  readonly weight: Tensor;
  /** Σ (W + ΔW)² of its rows, (1, out) F32. */
  readonly squares: Tensor;
}

/** Rows of a module's ΔW that are formed at once. */
export function formedRows({ shape: [out, input] }: Tensor): number {
  const rows = Math.max(1, Math.floor(BLOCK_BYTES / (4 * pitchOf(input, "F32")) / BLOCK_ROWS)) * BLOCK_ROWS;
  return Math.min(out, rows);
}

/** Scratch for ΔW of the largest of these modules; undefined where none forms it. */
export function allocateFormed(gpu: Device, weights: readonly Tensor[]): DeviceBuffer | undefined {
  const bytes = weights.map((weight) => formedRows(weight) * pitchOf(weight.shape[1], "F32") * 4);
  return weights.length === 0 ? undefined : gpu.memory.allocate("ΔW", Math.max(...bytes));
}

/** Records Σ (W + ΔW)² of each row of a module, as the method has W + ΔW now. */
export function recordSquares(
  run: Run,
  formed: FormedWeights,
  module: NormedModule,
  scratch: DeviceBuffer | undefined,
): void {
  const { name, weight, squares } = module;
  const held = formed.held(name);
  if (held !== undefined) {
    const [w, delta] = held.of === "ΔW" ? [weight, held.tensor] : [held.tensor, undefined];
    run.compute("rowSquares", { weight: w, delta, sums: squares });
    return;
  }
  if (scratch === undefined) throw new Error(`${name}: there is no room for its ΔW`);
  const [out, input] = weight.shape;
  const step = formedRows(weight);
  for (let first = 0; first < out; first += step) {
    const count = Math.min(step, out - first);
    const delta = tensorIn(scratch, [count, input], "F32");
    formed.record(run, name, first, delta);
    const sums = { ...squares, shape: [1, count] as const, offset: squares.offset + first };
    run.compute("rowSquares", { weight: sliceRows(weight, first, count), delta, sums });
  }
}
