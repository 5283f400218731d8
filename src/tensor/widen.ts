import { WIDEN_WIDTH, widenKernel, widenParameters } from "../kernels/widen.ts";
import { bind, rowBlocks } from "./row-blocks.ts";
import type { Run } from "./run.ts";
import { sliceRows, type Tensor } from "./tensor.ts";
import { weightDtype } from "./weight.ts";

/** Records y = x in f32, whole vectors of 4: of matrices above the binding limit block after block. */
export function recordWidened(run: Run, x: Tensor, y: Tensor): void {
  const [rows, cols] = x.shape;
  const width = Math.ceil(cols / 4);
  const step = Math.min(rowBlocks(run, x)[0]?.rows ?? rows, rowBlocks(run, y)[0]?.rows ?? rows);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const [from, to] = [bind(run, sliceRows(x, first, count)), bind(run, sliceRows(y, first, count))];
    const rowsY = Math.min(count, run.gpu.limits.maxComputeWorkgroupsPerDimension);
    run.dispatch(
      widenKernel(weightDtype("widening", x)),
      widenParameters({
        rows: count,
        width,
        x: [from.offset / 4, x.pitch / 4],
        y: [to.offset / 4, y.pitch / 4],
        rowsY,
      }),
      [from.binding, to.binding],
      [Math.ceil(width / WIDEN_WIDTH), rowsY, Math.ceil(count / rowsY)],
    );
  }
}
