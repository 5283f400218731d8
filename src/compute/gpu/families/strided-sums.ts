import type { StridedProduct } from "../../device/families/strided-sums.ts";
import { weightDtype } from "../../device/weight.ts";
import { bind, rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { gpuKernels } from "../kernels/family.ts";
import stridedSumsText from "../kernels/strided-sums.wgsl" with { type: "text" };

/** Columns that one workgroup handles. */
const WIDTH = 64;

/** Sums of products of elements at regular distances. */
const KERNELS = gpuKernels("strided-sums", stridedSumsText, {
  parameters: {
    rows: "u32",
    cols: "u32",
    padded: "u32", // columns that are written: zeros beyond `cols`, where y is assigned
    terms: "u32",
    xAt: "u32", // elements before the first one, and from row to row, column to column, term to term
    xRow: "u32",
    xCol: "u32",
    xTerm: "u32",
    weighted: "flag", // by w; else all its numbers are 1
    wAt: "u32",
    wRow: "u32",
    wCol: "u32",
    wTerm: "u32",
    y: "elements",
    accumulate: "flag", // y is added to, not assigned
    scale: "f32",
    rowsY: "u32", // rows along y; further ones along z
  },
  bindings: ["x", "w?", "y"],
});

export function stridedSums(on: Dispatcher, { x, w, y, terms, scale, accumulate = false }: StridedProduct): void {
  const [rows, cols] = y.shape;
  const rowsY = Math.min(rows, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const kernel = KERNELS({ DTYPE: weightDtype("strided sums", x.of) });
  const inRows = x.steps.col === x.of.pitch && x.of.shape[0] === cols;
  const blocks = inRows ? rowBlocks(on, x.of) : [{ ...bind(on, x.of), rows: cols }];
  const [from, to] = [w && bind(on, w.of), bind(on, y)];
  const { row: wRow = 0, col: wCol = 0, term: wTerm = 0 } = w?.steps ?? {};
  for (const { first, rows: count, binding, offset } of blocks) {
    const padded = Math.ceil(count / 4) * 4;
    const values = {
      rows,
      cols: count,
      padded,
      terms,
      accumulate,
      scale,
      rowsY,
      x: binding,
      xAt: offset,
      xRow: x.steps.row,
      xCol: x.steps.col,
      xTerm: x.steps.term,
      w: from,
      weighted: w !== undefined,
      wAt: (from?.offset ?? 0) + first * wCol,
      wRow,
      wCol,
      wTerm,
      y: { ...to, offset: to.offset + first, pitch: y.pitch },
    };
    on.run(kernel, values, [Math.ceil(padded / WIDTH), rowsY, Math.ceil(rows / rowsY)]);
  }
}
