import { MOST_PARTS } from "../../device/families/gated-delta.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";

/** How columns are grouped. */
export interface RegroupAttributes {
  readonly groups: number;
  /** Columns of each part of a group. */
  readonly sizes: readonly number[];
}

/**
 * Columns that are groups of parts, sorted by part: x (rows, cols) has of group 0 part 0, part 1 …, then those of group 1 …, and perhaps
 * columns of no group behind them. y has part 0 of all groups, then the columns of no group, then part 1 of all groups ….
 */
export const regroup = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<RegroupAttributes>({
  name: "regroup",
  shape({ x }, { groups, sizes }) {
    const fits = sizes.length <= MOST_PARTS && groups * sizes.reduce((sum, size) => sum + size, 0) <= x[1];
    requireShapes("regroup", { x }, fits, `${groups} groups of ${sizes.join(" and ")} columns`);
    return { y: { shape: x } };
  },
  forward(run, { x }, attributes, { y }) {
    run.compute("regroup", { x, ...attributes, inverse: false, y });
  },
  reference: ({ x }, attributes) => {
    const from = sources(x, attributes);
    return { y: matrixOf(...x.shape, (row, col) => at(x, row, from[col] ?? NaN)) };
  },
  derivative: {
    saves: () => [],
    backward(run, { gradients: { y: dy }, into: { x: dx } }, attributes) {
      if (dy !== undefined && dx !== undefined) {
        run.compute("regroup", { x: dy, ...attributes, inverse: true, y: dx });
      }
    },
    gradient({ x }, attributes, { y: dy }) {
      const from = sources(x, attributes);
      return { x: matrixOf(...x.shape, (row, col) => at(dy, row, from.indexOf(col))) };
    },
  },
});

/** The column of x that each of y is. */
function sources({ shape: [, cols] }: Matrix, { groups, sizes }: RegroupAttributes): readonly number[] {
  const width = sizes.reduce((sum, size) => sum + size, 0);
  const count = (first: number, length: number) => Array.from({ length }, (_, index) => first + index);
  return sizes.flatMap((size, part) => {
    const begin = sizes.slice(0, part).reduce((sum, before) => sum + before, 0);
    const all = count(0, groups).flatMap((group) => count(group * width + begin, size));
    return part === 0 ? [...all, ...count(groups * width, cols - groups * width)] : all;
  });
}
