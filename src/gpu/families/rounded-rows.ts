import { isBlockDtype } from "../../device/dtype.ts";
import type { InputNorm } from "../../device/families/products.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Matrix, Tensor } from "../../device/tensor.ts";
import { ROUNDED_TERMS, roundedRowsKernel, roundedRowsParameters } from "../../kernels/rounded-rows.ts";
import { bind, place, whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

/** Rows for products of whole numbers, in scratch: see rounded-rows.wgsl. */
export interface RoundedRows {
  /** (rows, terms / 2) U32: two words for four terms. */
  readonly halves: Tensor;
  /** (rows, 256 terms each) F32. */
  readonly scales: Tensor;
}

/** Are products with the rows of this matrix of whole numbers? */
export function takesRounded({ staging }: Dispatcher, { dtype }: Matrix): boolean {
  return staging.kind === "workgroup" && staging.integerDots === true && dtype !== "TERNARY" && isBlockDtype(dtype);
}

/** Rounds rows of whole blocks that can be bound together, perhaps normalised first; a branch's sum is stored. */
export function roundRows(on: Dispatcher, x: Tensor, norm?: InputNorm): RoundedRows {
  const [rows, terms] = x.shape;
  const branch = norm?.branch;
  const parts = Math.ceil(terms / ROUNDED_TERMS);
  const block = bind(on, x);
  const halves = takeScratch(on, "halves", [rows, terms / 2], "U32");
  const scales = takeScratch(on, "scales", [rows, parts]);
  on.dispatch(
    roundedRowsKernel(norm === undefined ? "plain" : branch === undefined ? "normed" : "joined"),
    roundedRowsParameters({
      xWidth: terms / 4,
      halvesPitch: halves.pitch / 2,
      scalesPitch: scales.pitch,
      size: terms,
      x: [block.offset / 4, x.pitch / 4],
      offset: norm?.offset ?? 0,
      epsilon: norm?.epsilon ?? 0,
      weightAt: (norm?.weight.offset ?? 0) / 4,
      branchWeightAt: (branch?.weight.offset ?? 0) / 4,
      branch: place(branch?.x),
      sum: place(branch?.sum),
    }),
    [
      block.binding,
      whole(on, halves),
      branch === undefined ? on.nothing : whole(on, branch.x),
      norm === undefined ? on.nothing : whole(on, norm.weight),
      whole(on, scales),
      ...(branch === undefined ? [] : [whole(on, branch.weight), whole(on, branch.sum)]),
    ],
    [parts, rows],
  );
  return { halves, scales };
}

/** Lets later commands use the memory of rounded rows. */
export function giveRounded(on: Dispatcher, { halves, scales }: RoundedRows): void {
  giveScratch(on, halves, scales);
}
