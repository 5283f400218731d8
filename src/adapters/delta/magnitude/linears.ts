import type { DeviceBuffer } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { sliceCols, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { Linears } from "../../../models/blocks/linears.ts";

/** What the outputs of a matrix are multiplied by. */
export interface OutputFactors {
  /** Rows of the matrix. */
  readonly rows: number;
  /** c (1, out): 1 for the rows of modules that are not adapted. */
  readonly factors: Tensor;
}

/**
 * The decoder's projections with rescaled outputs: y = c ⊙ z + bias + residual, where z = x (W + ΔW)ᵀ is what another
 * method computes. With dropout z is x Wᵀ + drop(x) ΔWᵀ: PEFT drops the input of c − 1 times the frozen product as well
 * (lora/variants.py), which adds noise and has no other mean.
 */
export function rescaledLinears(inner: Linears, matrices: ReadonlyMap<DeviceBuffer, OutputFactors>): Linears {
  return {
    apply(recorder, inputs) {
      const matrix = matrices.get(inputs.weight.buffer);
      if (matrix === undefined) return inner.apply(recorder, inputs);
      const { x, weight, bias, residual } = inputs;
      const z = inner.apply(recorder, { x, weight, bias: undefined, residual: undefined });
      const [out] = weight.shape;
      const scale = out === matrix.rows ? matrix.factors : sliceCols(matrix.factors, weight.offset / weight.pitch, out);
      const { y } = recorder.apply(OPS.scaleColumns, { x: z, scale, bias, residual }, {});
      recorder.release(z);
      return y;
    },
  };
}
