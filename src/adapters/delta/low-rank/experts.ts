import type { DeviceBuffer } from "../../../compute/device/device.ts";
import { addGroupedLinear } from "../../../compute/tensor/add-grouped-linear.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../../compute/tensor/tensor.ts";
import { type GroupedProjection, type Linears, projectGroups } from "../../../models/blocks/linears.ts";

/** What is added to columns of the experts' products: scale · B_e (A_e x), the factors of one expert below the other's. */
export interface ExpertAddend {
  /** (experts · r, in). */
  readonly a: Tensor;
  /** (experts · out, r). */
  readonly b: Tensor;
  readonly scale: number;
  /** Of the product, a multiple of 4. */
  readonly firstColumn: number;
  readonly columns: number;
}

/**
 * Products of experts with factors beside some of their matrices.
 * @param addends by the matrix of all experts
 */
export function expertProducts(
  addends: ReadonlyMap<DeviceBuffer, readonly ExpertAddend[]>,
  base: Linears | undefined,
): NonNullable<Linears["applyGrouped"]> {
  return (recorder, projection) => {
    const y = projectGroups(recorder, base, projection);
    for (const addend of addends.get(projection.weight.buffer) ?? []) add(recorder, projection, addend, y);
    return y;
  };
}

function add(
  recorder: Recorder,
  { x, begins, rowsAtMost }: GroupedProjection,
  { a, b, scale, firstColumn, columns }: ExpertAddend,
  y: Tensor,
): void {
  const { y: inner } = recorder.apply(OPS.groupedLinear, { x, weight: a, begins }, { rowsAtMost });
  const { y: scaled } = recorder.apply(OPS.scale, { x: inner }, { factor: scale });
  recorder.release(inner);
  const part = columns === y.shape[1] ? y : sliceCols(y, firstColumn, columns);
  addGroupedLinear(recorder, { x: scaled, weight: b, begins, rowsAtMost }, part);
  recorder.release(scaled);
}
