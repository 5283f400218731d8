import type { GroupBias, GroupSums } from "../../device/families/experts.ts";
import type { Dispatcher } from "../context.ts";
import { GROUP_BIAS_COLUMNS, GROUP_BIAS_KERNELS } from "../kernels/experts.ts";
import { sameRows } from "./elementwise.ts";

/** Matrices above the binding limit take several dispatches. */
export function groupBias(on: Dispatcher, { x, bias, begins, y }: GroupBias): void {
  const [, cols] = x.shape;
  let firstRow = 0;
  for (const { rows, bound } of sameRows(on, [x, y])) {
    const [ofX, ofY] = bound;
    on.dispatch(
      GROUP_BIAS_KERNELS.add,
      {
        groups: begins.shape[1] - 1,
        cols,
        firstRow,
        rows,
        width: 0,
        beginsAt: begins.offset,
        biasAt: bias.offset,
        x: ofX,
        y: ofY,
      },
      [ofX, begins, bias, ofY],
      [Math.ceil(cols / GROUP_BIAS_COLUMNS), rows],
    );
    firstRow += rows;
  }
}

/** The same; more sums than one row of workgroups handles take several. */
export function groupSums(on: Dispatcher, { x, begins, y }: GroupSums): void {
  const workgroups = Math.ceil(y.shape[1] / GROUP_BIAS_COLUMNS);
  const most = on.gpu.limits.maxComputeWorkgroupsPerDimension;
  const side = Math.min(workgroups, most);
  let firstRow = 0;
  for (const { rows, bound } of sameRows(on, [x])) {
    const [ofX] = bound;
    on.dispatch(
      GROUP_BIAS_KERNELS.sums,
      {
        groups: begins.shape[1] - 1,
        cols: x.shape[1],
        firstRow,
        rows,
        width: side * GROUP_BIAS_COLUMNS,
        beginsAt: begins.offset,
        biasAt: 0,
        x: ofX,
        y,
      },
      [ofX, begins, y],
      [side, Math.ceil(workgroups / side)],
    );
    firstRow += rows;
  }
}
