import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import type { DeltaSample, DeltaSource, LayerDelta, SampledWeight, StoredWeight } from "../method/plan.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { widenToF64 } from "../../files/safetensors/numbers.ts";
import { itemAt } from "../../files/item-at.ts";

/** ΔW of an adapter's layers, whatever the method. `L`: what is known of a layer, `S`: what layers share on a device. */
export interface DeltaMap<L, S> {
  /** Compiles kernels, and uploads what layers share. @param gpu owns it */
  share(gpu: Device, staging: Staging): Promise<S>;
  /**
   * Reads and uploads a layer's own tensors, for factor · ΔW. @returns what records a block of it, see {@link LayerDelta}
   * @throws RandloraError `numeric`, `file`, `memory`
   */
  place(layer: L, shared: S, on: LayerPlace): Promise<LayerDelta["form"]>;
  /** factor · ΔW (out, in) in f64, row-major, at a sample of its elements. */
  reference(layer: L, at: LayerSample): Promise<Float64Array>;
}

/** Where a layer is placed, and what for. */
export interface LayerPlace {
  /** Owns what is uploaded, until the layer is released. */
  readonly gpu: Device;
  readonly staging: Staging;
  /** What else is released with the layer. */
  readonly owner: DisposableStack;
  /** The layer's number. */
  readonly index: number;
  readonly factor: number;
  readonly weight: StoredWeight;
}

/** What of a layer is worked out in f64. */
export interface LayerSample extends Pick<LayerPlace, "index" | "factor"> {
  readonly sample: DeltaSample;
  readonly weight: SampledWeight;
}

/** ΔW of layers by one map: for merges, for magnitudes and sums of adapters over others, and in f64. */
export function deltaSource<L, S>(layers: readonly L[], map: DeltaMap<L, S>): DeltaSource {
  const layerAt = (index: number): L => {
    const layer = layers[index];
    if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
    return layer;
  };
  return {
    async upload(gpu, staging = gpu.staging) {
      const shared = await map.share(gpu, staging);
      return {
        async layer(index, factor, weight) {
          using owner = new DisposableStack();
          const on = { gpu: ownedBy(owner, gpu), staging, owner, index, factor, weight };
          const form = await map.place(layerAt(index), shared, on);
          const held = owner.move();
          return { form, release: () => held.dispose() };
        },
      };
    },
    reference: (index, factor, sample, weight) => map.reference(layerAt(index), { index, factor, sample, weight }),
  };
}

/** Some rows of W (out, in) in f64, one after another. @param conv1d W is stored (in, out). @throws RandloraError `file` */
export async function weightRows(
  weight: StoredWeight,
  rows: readonly number[],
  conv1d: boolean,
): Promise<Float64Array> {
  return conv1d ? await columnsOf(weight, rows) : await rowsOf(weight, rows);
}

/** Stored rows, one after another. */
async function rowsOf(weight: StoredWeight, rows: readonly number[]): Promise<Float64Array> {
  const all = new Float64Array(rows.length * weight.cols);
  for (const [i, row] of rows.entries()) all.set(await wideRows(weight, row, 1), i * weight.cols);
  return all;
}

/** Stored columns, one after another. */
async function columnsOf(weight: StoredWeight, columns: readonly number[]): Promise<Float64Array> {
  const { rows, cols } = weight;
  const step = Math.max(1, Math.floor(2 ** 18 / cols));
  const all = new Float64Array(columns.length * rows);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const portion = await wideRows(weight, first, count);
    for (const [i, column] of columns.entries()) {
      for (let row = 0; row < count; row++) all[i * rows + first + row] = itemAt(portion, row * cols + column);
    }
  }
  return all;
}

/** Stored rows in f64. */
async function wideRows(weight: StoredWeight, first: number, count: number): Promise<Float64Array> {
  const values = new Float64Array(count * weight.cols);
  const bytes = await weight.read(first, count);
  if (bytes.length !== values.length * dtypeBytes(weight.dtype)) throw new RangeError(`${bytes.length} bytes`);
  widenToF64(bytes, weight.dtype, values);
  return values;
}
