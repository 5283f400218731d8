import { fitsBlocks } from "../../../compute/device/blocks.ts";
import type { DeviceLimits, DeviceMemory } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { asWords, type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { RandloraError } from "../../../files/errors.ts";
import { paddedHead } from "../../blocks/columns.ts";
import { BLOCK, type Kept, type LayerCache, mapKept, matricesOf, positionsOfRow } from "../../blocks/sight.ts";
import { attentionsOf, type DecoderConfig, keysOf, type PlannedLayer } from "../config.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Run } from "../../../compute/tensor/run.ts";

/**
 * Tokens of a pass over a prompt at most: enough to keep a GPU busy, few enough to keep activations small. All such passes take the
 * device's way for many rows.
 */
export const PROMPT_BLOCK = 512;
/** Positions that layers with a window keep although no token sees them any more: prompts may begin there again. */
const SEEN_NO_MORE = 512;

/**
 * Positions in whole blocks, at which a sequence's rows begin, and by which they grow: a multiple of the keys that any kernel of attention takes
 * at once, so that a token's sums are cut as they would be if its sequence were the only one.
 */
export function inBlocks(positions: number): number {
  return Math.ceil(positions / BLOCK) * BLOCK;
}

/** A matrix of a layer's cache: its name, elements of a row, and what they are held in. */
interface PlannedRows {
  readonly label: string;
  readonly width: number;
  readonly dtype: KvDtype;
}

/** What a layer keeps; inputs of convolutions and states are F32, whatever keys and values are in. */
interface KeptByLayer {
  /** Positions that a token sees, its own included; Infinity: all before it. Of a state it sees the one before its own. */
  readonly window: number;
  readonly matrices: Kept<PlannedRows>;
}

/** By the mixer through which tokens of a layer see others. */
function keptBy(layer: PlannedLayer, dtype: KvDtype): KeptByLayer {
  for (const { mixer } of layer) {
    if (mixer.kind === "attention") {
      const width = mixer.kvHeads * paddedHead(mixer.headSize);
      const rows = (label: string): PlannedRows => ({ label, width, dtype });
      return { window: mixer.window, matrices: { keys: rows("keys"), values: rows("values") } };
    }
    if (mixer.kind === "convolution") {
      const width = mixer.output.weight.cols;
      const inputs: PlannedRows = { label: "inputs of a convolution", width, dtype: "F32" };
      return { window: mixer.weight.cols / width, matrices: { inputs } };
    }
    if (mixer.kind !== "gated-delta") continue;
    const { heads, keySize, valueSize, keyHeads, taps } = mixer;
    const states: PlannedRows = { label: "states", width: heads * valueSize * keySize, dtype: "F32" };
    // The inputs of its convolution before the next block's.
    const width = Math.max(1, taps - 1) * (2 * keyHeads * keySize + heads * valueSize);
    const tails: PlannedRows = { label: "inputs of a convolution", width, dtype: "F32" };
    return { window: Math.max(2, taps), matrices: { states, tails } };
  }
  throw new TypeError("a layer whose tokens see no others");
}

/** Do these keep states, which cannot be cut anywhere but where a block ends? */
export function keepsStates(layers: readonly PlannedLayer[]): boolean {
  return layers.some((layer) => "states" in keptBy(layer, "F32").matrices);
}

/** Positions that a token of this layer sees; see `KeptByLayer`. */
export function windowOf(layer: PlannedLayer): number {
  return keptBy(layer, "F32").window;
}

/**
 * Rows that a sequence of so many positions has where tokens see `window` of them: all, or what the first token of a pass over a
 * prompt sees, in whole blocks, and some more.
 */
export function rowsKept(window: number, positions: number): number {
  return Math.min(inBlocks(positions), inBlocks(window + BLOCK - 1 + PROMPT_BLOCK) + SEEN_NO_MORE);
}

/**
 * Rows of all sequences that share so many positions.
 * @param sequences that are decoded together; as many that have ended may be kept
 */
export function rowsShared(window: number, positions: number, sequences: number): number {
  return Math.min(positions, 2 * sequences * rowsKept(window, positions));
}

/** @throws RandloraError `usage` where blocks of 32 would lie across heads */
export function checkKvDtype(config: Pick<DecoderConfig, "layers">, dtype: KvDtype): void {
  if (dtype !== "Q8_ROWS") return;
  for (const { headSize } of attentionsOf(config)) {
    if (fitsBlocks(headSize)) continue;
    const cause = `--kv-type q8_0: this model's heads have ${headSize} elements, which are no whole blocks of 32`;
    throw new RandloraError("usage", cause, "--kv-type f16 takes any");
  }
}

/** Bytes of what layers keep of so many positions. @param sequences see `rowsShared` */
export function kvBytes(
  { layers }: Pick<DecoderConfig, "layers">,
  positions: number,
  dtype: KvDtype,
  sequences: number,
): number {
  return layers.reduce((sum, layer) => sum + layerBytes(layer, positions, dtype, sequences), 0);
}

/** The same of one layer; none of one that attends with the keys of another. */
export function layerBytes(layer: PlannedLayer, positions: number, dtype: KvDtype, sequences: number): number {
  if (keysOf(layer) !== undefined) return 0;
  const bytes = bytesOfPosition(layer, dtype).reduce((sum, own) => sum + own, 0);
  return bytes * rowsShared(windowOf(layer), positions, sequences);
}

/** Rows of these layers whose matrices a device binds as a whole. */
export function mostRows(
  { maxBindingSize, maxBufferSize }: DeviceLimits,
  layers: readonly PlannedLayer[],
  dtype: KvDtype,
): number {
  const widest = Math.max(...layers.flatMap((layer) => bytesOfPosition(layer, dtype)));
  return Math.floor(Math.min(maxBindingSize, maxBufferSize) / widest);
}

/** Bytes of a position in each of a layer's matrices. */
function bytesOfPosition(layer: PlannedLayer, dtype: KvDtype): readonly number[] {
  const { matrices } = keptBy(layer, dtype);
  return matricesOf(matrices).map((rows) => tensorBytes([1, rows.width], rows.dtype) / positionsOfRow(matrices));
}

/**
 * Room for so many positions; what is in it is undefined.
 * @throws RandloraError `memory`, where the device says so at once
 */
export function allocateLayer(memory: DeviceMemory, layer: PlannedLayer, rows: number, kvDtype: KvDtype): LayerCache {
  const { matrices } = keptBy(layer, kvDtype);
  const shapeOf = ({ width }: PlannedRows) => [rows / positionsOfRow(matrices), width] as const;
  if ("keys" in matrices) {
    const { dtype } = matrices.keys;
    const shape = shapeOf(matrices.keys);
    const labels = [matrices.keys.label, matrices.values.label] as const;
    const [keys, values] = memory.allocateTogether(labels, tensorBytes(shape, dtype));
    return { keys: tensorIn(keys, shape, dtype), values: tensorIn(values, shape, dtype) };
  }
  using held = new DisposableStack();
  const made = mapKept(matrices, (planned) => {
    const { label, dtype } = planned;
    const shape = shapeOf(planned);
    const buffer = memory.allocate(label, tensorBytes(shape, dtype));
    held.defer(() => memory.release(buffer));
    return tensorIn(buffer, shape, dtype);
  });
  held.move();
  return made;
}

/** Rows that one command copies at most. */
export const COPIED_AT_ONCE = 16_384;

/** A row of matrices that is copied to another one of them. */
type Copied = readonly [from: number, to: number];

/** Rows that are copied in matrices of these layers. */
type LayerCopies = readonly [layers: readonly LayerCache[], rows: readonly Copied[]];

/**
 * Copies rows within matrices; one's are all read before any is written.
 * @throws RandloraError `memory`; some may have been copied
 */
export async function copyRows(run: Run, copies: readonly LayerCopies[]): Promise<void> {
  try {
    for (const [layers, copied] of copies) {
      if (copied.length === 0) continue;
      for (const [unit, matrices] of Map.groupBy(layers, positionsOfRow)) {
        const rows = unit === 1 ? copied : blocksOf(copied, unit);
        const upload = (label: string, end: 0 | 1): Tensor =>
          run.upload(
            label,
            [1, rows.length],
            Uint32Array.from(rows, (row) => row[end]),
          );
        const [from, to] = [upload("from", 0), upload("to", 1)];
        for (const matrix of matrices.flatMap(matricesOf).map(asWords)) {
          const { y } = run.apply(OPS.rows, { x: matrix, indices: from }, {});
          run.compute("rows", { scatter: true, x: y, indices: to, y: matrix });
          run.release(y);
        }
      }
    }
    await run.submit();
  } catch (thrown) {
    run.discard();
    throw thrown;
  }
}

/** So many rows from each on. */
export function rowsFrom(from: number, to: number, count: number): Copied[] {
  return Array.from({ length: Math.max(0, count) }, (_, row) => [from + row, to + row] as const);
}

/** The blocks that rows are in, each once. */
function blocksOf(rows: readonly Copied[], unit: number): Copied[] {
  const blocks = new Map(rows.map(([from, to]) => [Math.floor(to / unit), Math.floor(from / unit)]));
  return Array.from(blocks, ([to, from]) => [from, to] as const);
}
