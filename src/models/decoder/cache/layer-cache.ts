import type { Copy, DeviceLimits, DeviceMemory } from "../../../compute/device/device.ts";
import { fitsBlocks } from "../../../compute/device/blocks.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { RandloraError } from "../../../files/errors.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { Attention } from "../../blocks/attention.ts";
import type { Convolution } from "../../blocks/convolution.ts";
import type { GatedDelta } from "../../blocks/gated-delta.ts";
import { BLOCK, type LayerCache } from "../../blocks/sight.ts";
import type { PlannedMatrix } from "../../tensor-plan.ts";
import { type DecoderConfig, keysOf, type PlannedLayer } from "../config.ts";

/** The matrices of a layer's cache. */
export function matricesOf(layer: LayerCache): readonly Tensor[] {
  if ("keys" in layer) return [layer.keys, layer.values];
  return "inputs" in layer ? [layer.inputs] : [layer.states, layer.tails];
}

/** Positions that a row of its matrices stands for. */
export function positionsOfRow(layer: LayerCache): number {
  return "states" in layer ? BLOCK : 1;
}

/** Do these keep states, which cannot be cut anywhere but where a block ends? */
export function keepsStates(layers: readonly PlannedLayer[]): boolean {
  return layers.some((layer) => keptBy(layer).kind === "gated-delta");
}

/*
 * A sequence's rows begin at whole blocks and grow by them. They are a multiple of the keys that any kernel of attention takes at once, so
 * that a token's sums are cut as they would be if its sequence were the only one.
 */
export { BLOCK };

/**
 * Tokens of a pass over a prompt at most: enough to keep a GPU busy, few enough to keep activations small. All such passes take the
 * device's way for many rows.
 */
export const PROMPT_BLOCK = 512;
/** Positions that layers with a window keep although no token sees them any more: prompts may begin there again. */
const SEEN_NO_MORE = 512;

/** Positions in whole blocks. */
export function inBlocks(positions: number): number {
  return Math.ceil(positions / BLOCK) * BLOCK;
}

/** Positions that a token of this layer sees, its own included; Infinity: all before it. Of a state it sees the one before its own. */
export function windowOf(layer: PlannedLayer): number {
  const mixer = keptBy(layer);
  if (mixer.kind === "gated-delta") return Math.max(2, mixer.taps);
  return mixer.kind === "attention" ? mixer.window : mixer.weight.cols / mixer.output.weight.cols;
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
export function checkKvDtype({ layers }: Pick<DecoderConfig, "layers">, dtype: KvDtype): void {
  if (dtype !== "Q8_ROWS") return;
  for (const mixer of layers.map(keptBy)) {
    if (mixer.kind !== "attention" || fitsBlocks(mixer.headSize)) continue;
    const cause = `--kv-type q8_0: this model's heads have ${mixer.headSize} elements, which are no whole blocks of 32`;
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
  const matrices = keptBy(layer).kind === "attention" ? 2 : 1;
  return matrices * rowBytes(layer, dtype) * rowsShared(windowOf(layer), positions, sequences);
}

/** Rows of these layers whose matrices a device binds as a whole. */
export function mostRows(
  { maxBindingSize, maxBufferSize }: DeviceLimits,
  layers: readonly PlannedLayer[],
  dtype: KvDtype,
): number {
  const widest = Math.max(...layers.map((layer) => rowBytes(layer, dtype)));
  return Math.floor(Math.min(maxBindingSize, maxBufferSize) / widest);
}

/**
 * Room for so many rows; what is in it is undefined.
 * @throws RandloraError `memory`, where the device says so at once
 */
export function allocateLayer(memory: DeviceMemory, layer: PlannedLayer, rows: number, dtype: KvDtype): LayerCache {
  const mixer = keptBy(layer);
  if (mixer.kind === "gated-delta") {
    const matrix = (label: string, width: number): Tensor => {
      const shape = [rows / BLOCK, width] as const;
      return tensorIn(memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
    };
    const { state, tail } = widthsOf(mixer);
    return { states: matrix("states", state), tails: matrix("inputs of a convolution", tail) };
  }
  if (mixer.kind === "convolution") {
    const shape = [rows, mixer.output.weight.cols] as const;
    return { inputs: tensorIn(memory.allocate("inputs of a convolution", tensorBytes(shape, "F32")), shape, "F32") };
  }
  const shape = [rows, mixer.kvHeads * mixer.headSize] as const;
  const [keys, values] = memory.allocateTogether(["keys", "values"], tensorBytes(shape, dtype));
  return { keys: tensorIn(keys, shape, dtype), values: tensorIn(values, shape, dtype) };
}

/** Rows that are copied from one cache to another one. */
export interface RowRange {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** Copies of these rows, from each of a layer's matrices to the same of another cache. */
export function copiesOf(from: LayerCache, to: LayerCache, ranges: readonly RowRange[]): readonly Copy[] {
  const targets = matricesOf(to);
  const unit = positionsOfRow(from);
  return matricesOf(from).flatMap(({ buffer, shape, dtype }, at) => {
    const target = itemAt(targets, at).buffer;
    const bytes = tensorBytes([1, shape[1]], dtype);
    return ranges
      .filter(({ rows }) => rows > 0)
      .map((range) => ({
        from: buffer,
        to: target,
        fromOffset: (range.from / unit) * bytes,
        toOffset: (range.to / unit) * bytes,
        size: Math.ceil(range.rows / unit) * bytes,
      }));
  });
}

/** Gives its matrices back. */
export function releaseLayer(memory: DeviceMemory, layer: LayerCache): void {
  for (const { buffer } of matricesOf(layer)) memory.release(buffer);
}

/** Elements of a block's state, and of the inputs before the next one's. */
function widthsOf({ heads, keySize, valueSize, keyHeads, taps }: GatedDelta<PlannedMatrix>) {
  return {
    state: heads * valueSize * keySize,
    tail: Math.max(1, taps - 1) * (2 * keyHeads * keySize + heads * valueSize),
  };
}

/** Bytes of a position in each of a layer's matrices; what is convolved, and states, are F32, whatever keys and values are in. */
function rowBytes(layer: PlannedLayer, dtype: KvDtype): number {
  const mixer = keptBy(layer);
  if (mixer.kind === "gated-delta") {
    const { state, tail } = widthsOf(mixer);
    return tensorBytes([1, state + tail], "F32") / BLOCK;
  }
  return mixer.kind === "attention"
    ? tensorBytes([1, mixer.kvHeads * mixer.headSize], dtype)
    : tensorBytes([1, mixer.output.weight.cols], "F32");
}

/** The mixer of a layer through which tokens see others. */
function keptBy(
  layer: PlannedLayer,
): Attention<PlannedMatrix> | Convolution<PlannedMatrix> | GatedDelta<PlannedMatrix> {
  for (const { mixer } of layer) {
    if (mixer.kind === "attention" || mixer.kind === "convolution" || mixer.kind === "gated-delta") return mixer;
  }
  throw new TypeError("a layer whose tokens see no others");
}
