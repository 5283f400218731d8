import type { Device } from "../../compute/device/device.ts";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import { repitched } from "../../compute/tensor/repitch.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { weightRows, deltaSource, type LayerPlace } from "../delta/on-device.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn, write } from "../../compute/tensor/tensor.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter } from "../files/adapter.ts";
import { readAllValues } from "../files/tensors.ts";
import type { FittedLayer } from "../method/fit.ts";
import type { DeltaSource, LayerDelta, StoredWeight, WeightBlock } from "../method/plan.ts";
import { matrixOf } from "../method/train.ts";
import { type Formula, rowsOf, stridedWeight } from "./formula.ts";

/** An adapted weight whose ΔW = scale · formula. */
export interface FormulaLayer<T extends string> extends FittedLayer<T> {
  readonly formula: Formula<T>;
  readonly scale: number;
}

/** ΔW of layers by their formulas. @param takesWeight these ask for W */
export function formulaDeltas<T extends string>(
  adapter: Adapter,
  layers: readonly FormulaLayer<T>[],
  takesWeight = false,
): DeltaSource {
  return deltaSource(layers, {
    share: async () => undefined,
    place: (layer, _, on) => place(adapter, layer, on, takesWeight),
    async reference({ formula, scale, tensors, conv1d }, { factor, sample: { rows, cols }, weight }) {
      const of = await readAllValues(adapter, tensors);
      const stored = takesWeight ? await weightRows(weight, rows, conv1d) : new Float64Array();
      const input = conv1d ? weight.rows : weight.cols;
      const places = new Map(rows.map((row, place) => [row, place * input]));
      const own = (row: number, col: number) => stored[(places.get(row) ?? NaN) + col] ?? NaN;
      const at = (row: number, col: number) => scale * factor * formula.at(of, row, col, own);
      return Float64Array.from(rows.flatMap((row) => cols.map((col) => at(row, col))));
    },
  });
}

async function place<T extends string>(
  adapter: Adapter,
  { formula, scale, tensors, out, in: input, conv1d }: FormulaLayer<T>,
  { gpu, factor, weight: stored }: LayerPlace,
  takesWeight: boolean,
): Promise<LayerDelta["form"]> {
  const values = await readAllValues(adapter, tensors);
  const allocate = (label: string, shape: Shape) =>
    tensorIn(gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
  const of = mapValues(tensors, (tensor, key) => {
    const placed = allocate(tensor.name, matrixOf(tensor).shape);
    write(gpu, placed, values[key]);
    return placed;
  });
  const scaled = scale * factor;
  if (!conv1d) {
    return (run, block) => {
      const [first, rows] = [block.firstRow, blockRows(block, input)];
      const weight = takesWeight ? stridedWeight({ ...rows, ...block.weight, offset: 0 }) : undefined;
      formula.form(
        run,
        of,
        scaled,
        { first, rows, weight, values, rounding: block.rounding },
        block.accumulate ?? false,
      );
    };
  }
  // W is stored (in, out): ΔW is formed whole, by the first block and where another rounding is asked for, and read along its columns.
  const whole = allocate("ΔW", [out, input]);
  const one = tensorIn(uploaded(gpu, "one", Float32Array.of(1, 0, 0, 0)), [1, 1], "F32");
  const weight = takesWeight ? stridedWeight(await wholeWeight(gpu, stored), conv1d) : undefined;
  let formed: KernelDtype | undefined;
  return (run, block) => {
    const { rounding = "F32" } = block;
    const isFormed = formed === rounding;
    for (const rows of isFormed ? [] : rowsOf(whole, weight)) {
      formula.form(run, of, scaled, { ...rows, values, rounding }, false);
    }
    formed = rounding;
    recordStridedSums(run, {
      x: { of: { ...whole, offset: block.firstRow }, steps: { row: 1, col: whole.pitch, term: 0 } },
      w: { of: one, steps: { row: 0, col: 0, term: 0 } },
      y: blockRows(block, out),
      terms: 1,
      scale: 1,
      accumulate: block.accumulate ?? false,
    });
  };
}

/** W as it is stored. */
async function wholeWeight(gpu: Device, stored: StoredWeight): Promise<Tensor> {
  const { rows, cols, dtype } = stored;
  const shape = [rows, cols] as const;
  const whole = tensorIn(gpu.memory.allocate("W", tensorBytes(shape, dtype)), shape, dtype);
  const size = dtypeBytes(dtype);
  gpu.write(whole.buffer, repitched(await stored.read(0, rows), rows, cols * size, whole.pitch * size));
  return whole;
}

/** A block of the rows of W as a matrix. */
function blockRows({ target, at = 0, rows, pitch }: WeightBlock, cols: number): Tensor {
  return { shape: [rows, cols], dtype: "F32", buffer: target, offset: at, pitch };
}
