import { type DeltaBlock, type DeltaStatistics, readStatistics } from "../adapters/delta-block.ts";
import { padded4 } from "../adapters/delta-dispatch.ts";
import type { LayerDelta } from "../adapters/plan-types.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import { Stream } from "../gpu/stream.ts";
import { readWith, upload } from "../gpu/transfer.ts";
import { isKernelDtype, type KernelDtype } from "../kernels/dtype.ts";
import { dtypeBytes, isFloat } from "../safetensors/dtype.ts";
import { widenToF32 } from "../safetensors/numbers.ts";
import { convertBytes } from "./convert.ts";
import { splitRows, type RowBlock } from "./blocks.ts";
import type { TensorSource } from "./plan.ts";

/**
 * `--rounding`: the sum is rounded once, or after each adapter, as PEFT does: with ΔW rounded first where PEFT rounds it.
 */
export type Rounding = "once" | "peft";

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** A weight to be merged: (rows, cols) as stored. */
export interface WeightToMerge {
  readonly source: TensorSource;
  readonly rows: number;
  readonly cols: number;
  readonly target: KernelDtype;
  readonly rounding: Rounding;
  /** Every adapter's ΔW of this weight, once its parameters are on the GPU. */
  readonly deltas: Promise<readonly DeltaOnGpu[]>;
}

/** The row blocks of a weight. */
export function weightBlocks({ rows, cols, source }: WeightToMerge): RowBlock[] {
  return splitRows(rows, padded4(cols) * Math.max(4, dtypeBytes(source.dtype)));
}

/**
 * Reads one block of rows of W, adds every ΔW on the GPU, and hands the rounded bytes (rows without gaps) to `write`
 * once it is mapped; the bytes are gone afterwards. Rows with weights that are not finite are not written.
 * @param scratch at least the block's stored bytes; free again when `uploaded` is called
 */
export async function mergeBlock(
  gpu: Gpu,
  weight: WeightToMerge,
  block: RowBlock,
  scratch: Uint8Array<ArrayBuffer>,
  uploaded: () => void,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<DeltaStatistics> {
  const { cols, target } = weight;
  const pitch = padded4(cols);
  const held: GpuBuffer[] = [];
  const allocate = (label: string, bytes: number): GpuBuffer => {
    const buffer = gpu.memory.allocate(label, bytes);
    held.push(buffer);
    return buffer;
  };
  try {
    const source = await readRows(weight, block, scratch);
    const input = allocate("weight", block.rows * pitch * dtypeBytes(source.dtype));
    upload(gpu, input, source.bytes);
    uploaded();
    const deltas = await weight.deltas;
    const stream = new Stream(gpu);
    // PEFT rounds in the dtype of the weights that it has loaded; another one for the output comes after everything.
    const rounded = weight.rounding === "peft" ? source.dtype : target;
    let current: { buffer: GpuBuffer; dtype: KernelDtype } = { buffer: input, dtype: source.dtype };
    let sum: GpuBuffer | undefined;
    const statistics: GpuBuffer[] = [];
    deltas.forEach(({ delta, roundsDelta }, index) => {
      const isLast = index === deltas.length - 1;
      const eachRounded = weight.rounding === "peft";
      const dtype = isLast || eachRounded ? rounded : "F32";
      const output = { buffer: allocate("merged", block.rows * pitch * dtypeBytes(dtype)), dtype };
      const part: DeltaBlock = {
        firstRow: block.firstRow,
        rows: block.rows,
        pitch,
        target: output,
        roundDelta: eachRounded && roundsDelta,
        ...(isLast || eachRounded ? { weight: current } : {}),
        ...(sum === undefined ? {} : { sum }),
      };
      const found = allocate("statistics", delta.statisticsBytes(part));
      delta.record(stream, part, found);
      // A sum's last part sees the whole of it.
      if (isLast || eachRounded) statistics.push(found);
      if (isLast || eachRounded) current = output;
      else sum = output.buffer;
    });
    stream.submit();
    const bytes = block.rows * pitch * dtypeBytes(rounded);
    return await readWith(
      gpu,
      [
        { buffer: current.buffer, offset: 0, size: bytes },
        ...statistics.map((buffer) => ({ buffer, offset: 0, size: buffer.size })),
      ],
      async ([merged = new Uint8Array(), ...found]) => {
        const parts = found.map(readStatistics);
        if ((parts.at(-1)?.notFinite ?? 0) === 0) {
          const dense = withoutGaps(merged, block.rows, cols * dtypeBytes(rounded), pitch * dtypeBytes(rounded));
          await write(rounded === target ? dense : convertBytes(weight.source, rounded, dense, target));
        }
        return combine(parts);
      },
    );
  } finally {
    for (const buffer of held) gpu.memory.release(buffer);
  }
}

/**
 * The statistics of ΔWs that were added one after another: the largest, the sum of the squares, and at least as many
 * changed weights as one of them changed.
 */
function combine(parts: readonly DeltaStatistics[]): DeltaStatistics {
  return {
    maxAbsDelta: Math.max(...parts.map(({ maxAbsDelta }) => maxAbsDelta)),
    sumOfSquares: parts.reduce((sum, { sumOfSquares }) => sum + sumOfSquares, 0),
    changed: Math.max(...parts.map(({ changed }) => changed)),
    notFinite: parts.at(-1)?.notFinite ?? 0,
  };
}

/** A block of rows with `padded4(cols)` elements each, in a dtype that kernels read. */
async function readRows(
  { source, cols }: WeightToMerge,
  block: RowBlock,
  scratch: Uint8Array<ArrayBuffer>,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; dtype: KernelDtype }> {
  const stored = dtypeBytes(source.dtype);
  let bytes = scratch.subarray(0, block.rows * cols * stored);
  await source.read(bytes, block.firstRow * cols * stored);
  let dtype = source.dtype;
  if (!isKernelDtype(dtype)) {
    if (!isFloat(dtype)) throw new TypeError(`${source.label} is ${dtype}`);
    const widened = new Float32Array(block.rows * cols);
    widenToF32(bytes, dtype, widened);
    bytes = new Uint8Array(widened.buffer);
    dtype = "F32";
  }
  const size = dtypeBytes(dtype);
  return { bytes: withGaps(bytes, block.rows, cols * size, padded4(cols) * size), dtype };
}

/** Rows of `from` bytes spread to `to` bytes each; the same bytes where nothing is to be done. */
function withGaps(bytes: Uint8Array<ArrayBuffer>, rows: number, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (from === to) return bytes;
  const spread = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row++) spread.set(bytes.subarray(row * from, (row + 1) * from), row * to);
  return spread;
}

function withoutGaps(bytes: Uint8Array, rows: number, to: number, from: number): Uint8Array {
  if (from === to) return bytes;
  const dense = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row++) dense.set(bytes.subarray(row * from, row * from + to), row * to);
  return dense;
}
