import type { AdapterPlan, DeltaSource } from "../../method/plan.ts";
import { itemAt } from "../../../files/item-at.ts";
import { RandloraError } from "../../../files/errors.ts";
import { BLOCK } from "../../../compute/device/blocks.ts";
import { isKernelDtype, type KernelDtype, type RoundedDtype } from "../../../compute/device/dtype.ts";
import { dtypeBytes, isFloat } from "../../../files/safetensors/dtype.ts";
import { quote } from "../../../files/failure.ts";
import { roundFromF64, widenToF64 } from "../../../files/safetensors/numbers.ts";
import type { OutputTensor, TensorSource } from "../plan.ts";
import type { Rounding } from "../merge-tensor.ts";
import { matrixSizes, storedWeight } from "../stored-weight.ts";

/** Rows and columns of each merged tensor that are computed again. */
const SAMPLE = 8;

/** An adapter as it is verified: in memory, not on the GPU. */
export interface VerifiedAdapter {
  readonly plan: Pick<AdapterPlan, "roundsDelta" | "rescales">;
  readonly source?: DeltaSource | undefined;
  /** What ΔW is multiplied by. */
  readonly factor: number;
}

/** A tensor of the output, read back. */
export interface WrittenTensor extends TensorSource {
  /** Where its numbers were rounded to blocks: which, and whether they lie along the columns of what is read. */
  readonly blocks?: { readonly dtype: RoundedDtype; readonly isTurned: boolean } | undefined;
}

/** The largest |q| of a block: its largest number, divided by the scale. */
const LARGEST_QUANT: Readonly<Record<RoundedDtype, number>> = { Q8_0: 127, Q4_0: 8 };

/** Mantissa bits beside the leading one, and the exponent of the smallest normal number. */
const FORMATS: Readonly<Record<KernelDtype, { readonly bits: number; readonly smallest: number }>> = {
  F32: { bits: 23, smallest: -126 },
  F16: { bits: 10, smallest: -14 },
  BF16: { bits: 7, smallest: -126 },
};

/** The distance between `value` and its neighbor in a dtype. */
export function ulp(value: number, dtype: KernelDtype): number {
  const { bits, smallest } = FORMATS[dtype];
  const exponent = value === 0 ? smallest : Math.floor(Math.log2(Math.abs(value)));
  return 2 ** (Math.max(exponent, smallest) - bits);
}

/**
 * Computes a sample of merged weights again in f64 and compares what was written.
 * @param written where the output's tensors are read
 * @param maxAbsDelta max |ΔW| by tensor: f32 sums are allowed to be off by 2e-6 of it, and each adapter's share by as
 *   much of its own, since shares may cancel each other; a share that rescales the weight by as much of the weight
 * @returns the largest distance from the exact sum, in units of the last place that the weight has in the output's
 *   dtype, before or after, whichever is larger: where ΔW cancels a weight, what is left has next to no unit
 * @throws RandloraError `numeric` naming the tensor when a weight is further off than one unit, of blocks their scale, and
 *   2e-6 · max |ΔW|
 */
export async function verifyMerge(
  tensors: readonly OutputTensor[],
  adapters: readonly VerifiedAdapter[],
  written: (name: string) => WrittenTensor,
  rounding: Rounding,
  maxAbsDelta: ReadonlyMap<string, number>,
  signal: AbortSignal,
  onTensor: () => void = () => {},
): Promise<number> {
  let worst = 0;
  for (const [index, tensor] of tensors.entries()) {
    signal.throwIfAborted();
    onTensor();
    const { work, dtype } = tensor;
    if (work.kind !== "merge" || !isKernelDtype(dtype)) continue;
    const [height, width] = matrixSizes(tensor.shape);
    const rows = sample(height, index);
    const cols = sample(width, index + 1);
    const values = await readSample(work.source, width, rows, cols);
    // The sum is defined in f32: that is how a wider weight is read.
    if (work.source.dtype === "F64") values.forEach((value, at) => (values[at] = Math.fround(value)));
    const { dtype: stored } = work.source;
    const kept = rounding === "once" ? dtype : isKernelDtype(stored) ? stored : "F32"; // where PEFT rounds
    const before = values.slice();
    const weight = storedWeight(work.source, height, width);
    const slack = new Float64Array(values.length);
    for (const { adapter, index: which, layer } of work.deltas) {
      const { source, factor, plan } = itemAt(adapters, adapter);
      if (source === undefined) throw new TypeError(`adapter ${adapter} is not in memory`);
      const picked = layer.conv1d ? { rows: cols, cols: rows } : { rows, cols };
      // ΔW is (out, in), whichever way the weight is stored.
      const inDelta = (at: number) => {
        return layer.conv1d ? (at % cols.length) * rows.length + Math.floor(at / cols.length) : at;
      };
      const onto = new Float64Array(values.length);
      values.forEach((value, at) => (onto[inDelta(at)] = value));
      const delta = await source.reference(which, factor, picked, { ...weight, onto });
      const roundsDelta = rounding === "peft" && plan.roundsDelta;
      const largest = delta.reduce(
        (most, change) => (Number.isNaN(change) ? most : Math.max(most, Math.abs(change))),
        0,
      );
      values.forEach((value, at) => {
        const change = itemAt(delta, inDelta(at));
        const sum = value + (roundsDelta ? round(change, kept) : change);
        values[at] = rounding === "peft" ? round(sum, kept) : sum;
        slack[at] = itemAt(slack, at) + 2e-6 * (plan.rescales === true ? Math.max(largest, Math.abs(sum)) : largest);
        // Where ΔW lies between two numbers, rounding it may go either way, and so may the sum after it.
        if (roundsDelta) slack[at] = itemAt(slack, at) + ulp(change, kept);
        if (rounding === "peft") slack[at] = itemAt(slack, at) + ulp(itemAt(values, at), kept);
      });
    }
    const output = written(tensor.name);
    const found = await readSample(output, width, rows, cols);
    const steps = await blockSteps(output, width, rows, cols);
    const largestDelta = maxAbsDelta.get(tensor.name);
    if (largestDelta === undefined) throw new RangeError(`${tensor.name}: nobody knows how large its ΔW is`);
    const sumSlack = 2e-6 * largestDelta;
    values.forEach((value, at) => {
      if (Number.isNaN(value)) return; // rounding decides: see DeltaSource
      const error = Math.abs(itemAt(found, at) - value);
      const narrow = isKernelDtype(output.dtype) ? ulp(value, output.dtype) : 0;
      const unit = Math.max(ulp(value, dtype), narrow, steps?.[at] ?? 0);
      const allowed = Math.max(unit, sumSlack, itemAt(slack, at)) * (1 + 1e-9);
      if (!(error <= allowed)) throw mismatch(tensor.name, rows, cols, at, value, found);
      worst = Math.max(worst, error / Math.max(unit, ulp(itemAt(before, at), dtype)));
    });
  }
  return worst;
}

/** Up to `SAMPLE` indices below `count`, first and last among them, the same in every run. */
export function sample(count: number, seed: number): number[] {
  if (count <= SAMPLE) return Array.from({ length: count }, (_, index) => index);
  const picked = new Set([0, count - 1]);
  for (let state = seed * 2 + 1; picked.size < SAMPLE;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    picked.add(state % count);
  }
  return [...picked].toSorted((left, right) => left - right);
}

async function readSample(
  source: TensorSource,
  width: number,
  rows: readonly number[],
  cols: readonly number[],
): Promise<Float64Array> {
  if (!isFloat(source.dtype)) throw new TypeError(`${source.label} is ${source.dtype}`);
  const values = new Float64Array(rows.length * cols.length);
  const bytes = new Uint8Array(width * dtypeBytes(source.dtype));
  const row64 = new Float64Array(width);
  for (const [index, row] of rows.entries()) {
    await source.read(bytes, row * bytes.length);
    widenToF64(bytes, source.dtype, row64);
    cols.forEach((col, at) => (values[index * cols.length + at] = itemAt(row64, col)));
  }
  return values;
}

/** How far rounding to blocks moves each number of a sample at most: by its block's scale, which is an f16 itself. */
async function blockSteps(
  output: WrittenTensor,
  width: number,
  rows: readonly number[],
  cols: readonly number[],
): Promise<Float64Array | undefined> {
  const { blocks } = output;
  if (blocks === undefined) return undefined;
  const whole = (places: readonly number[]) =>
    places.flatMap((place) => Array.from({ length: BLOCK }, (_, at) => place - (place % BLOCK) + at));
  const values = blocks.isTurned
    ? await readSample(output, width, whole(rows), cols)
    : await readSample(output, width, rows, whole(cols));
  const quant = LARGEST_QUANT[blocks.dtype];
  return Float64Array.from({ length: rows.length * cols.length }, (_, at) => {
    const [row, col] = [Math.floor(at / cols.length), at % cols.length];
    const first = blocks.isTurned ? row * BLOCK * cols.length + col : at * BLOCK;
    const step = blocks.isTurned ? cols.length : 1;
    let largest = 0;
    for (let i = 0; i < BLOCK; i++) largest = Math.max(largest, Math.abs(itemAt(values, first + i * step)));
    return largest / quant + largest * 2 ** -11 + quant * 2 ** -25;
  });
}

function round(value: number, dtype: KernelDtype): number {
  const bytes = new Uint8Array(dtypeBytes(dtype));
  const result = new Float64Array(1);
  roundFromF64(Float64Array.of(value), dtype, bytes);
  widenToF64(bytes, dtype, result);
  return itemAt(result, 0);
}

function mismatch(
  name: string,
  rows: readonly number[],
  cols: readonly number[],
  at: number,
  want: number,
  found: Float64Array,
): RandloraError {
  const place = `[${rows[Math.floor(at / cols.length)]}, ${cols[at % cols.length]}]`;
  const cause = `weight ${place} of tensor ${quote(name)} is ${found[at]}, in double precision it is ${want}`;
  return new RandloraError(
    "numeric",
    `verification failed: ${cause}`,
    "try another GPU with --device, and report this",
  );
}
