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

export function groupSums(on: Dispatcher, { x, begins, y }: GroupSums): void {
  on.dispatch(
    GROUP_BIAS_KERNELS.sums,
    {
      groups: begins.shape[1] - 1,
      cols: x.shape[1],
      firstRow: 0,
      beginsAt: begins.offset,
      biasAt: 0,
      x,
      y,
    },
    [x, begins, y],
    [Math.ceil(y.shape[1] / GROUP_BIAS_COLUMNS)],
  );
}
