import type { StridedProduct } from "../../device/families/strided-sums.ts";
import { weightDtype } from "../../device/weight.ts";
import { STRIDED_SUMS_WIDTH, stridedSumsKernel } from "../kernels/strided-sums.ts";
import { bind, rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

export function stridedSums(on: Dispatcher, product: StridedProduct): void {
  const { x, w, y, terms, scale, accumulate = false } = product;
  const [rows, cols] = y.shape;
  const most = on.gpu.limits.maxComputeWorkgroupsPerDimension;
  const rowsY = Math.min(rows, most);
  const inRows = x.steps.col === x.of.pitch && x.of.shape[0] === cols;
  const blocks = inRows ? rowBlocks(on, x.of) : [{ ...bind(on, x.of), rows: cols }];
  const [from, to] = [w && bind(on, w.of), bind(on, y)];
  for (const { first, rows: count, binding, offset } of blocks) {
    const padded = Math.ceil(count / 4) * 4;
    on.dispatch(
      stridedSumsKernel(weightDtype("strided sums", x.of)),
      {
        rows,
        cols: count,
        padded,
        terms,
        xAt: offset,
        xRow: x.steps.row,
        xCol: x.steps.col,
        xTerm: x.steps.term,
        weighted: w !== undefined,
        wAt: (from?.offset ?? 0) + first * (w?.steps.col ?? 0),
        wRow: w?.steps.row ?? 0,
        wCol: w?.steps.col ?? 0,
        wTerm: w?.steps.term ?? 0,
        y: { offset: to.offset + first, pitch: y.pitch },
        accumulate,
        scale,
        rowsY,
      },
      [binding, from, to],
      [Math.ceil(padded / STRIDED_SUMS_WIDTH), rowsY, Math.ceil(rows / rowsY)],
    );
  }
}
