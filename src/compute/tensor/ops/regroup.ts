import { MOST_PARTS } from "../../device/families/gated-delta.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";

/** How columns are grouped. */
export interface RegroupAttributes {
  readonly groups: number;
  /** Columns of each part of a group. */
  readonly sizes: readonly number[];
  /**
   * Each part of each group is followed by zeros up to a multiple of 4, so that it can be viewed by itself: they are added, or `removed` from
   * what is sorted, which becomes what it was. No columns are of no group then.
   */
  readonly padding?: "added" | "removed";
}

/**
 * Columns that are groups of parts, sorted by part: x (rows, cols) has of group 0 part 0, part 1 …, then those of group 1 …, and perhaps
 * columns of no group behind them. y has part 0 of all groups, then the columns of no group, then part 1 of all groups ….
 */
export const regroup = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<RegroupAttributes>({
  name: "regroup",
  shape({ x }, { groups, sizes, padding }) {
    const sum = (all: readonly number[]) => groups * all.reduce((before, size) => before + size, 0);
    const [bare, padded] = [sum(sizes), sum(sizes.map(wide))];
    const isWhole = padding === undefined ? bare <= x[1] : x[1] === (padding === "added" ? bare : padded);
    const fits = sizes.length <= MOST_PARTS && isWhole;
    requireShapes("regroup", { x }, fits, `${groups} groups of ${sizes.join(" and ")} columns`);
    return { y: { shape: padding === undefined ? x : [x[0], padding === "added" ? padded : bare] } };
  },
  forward(run, { x }, { padding, ...attributes }, { y }) {
    const [inverse, padded] = [padding === "removed", padding !== undefined];
    run.compute("regroup", { x, ...attributes, inverse, padded, y });
  },
  reference: ({ x }, attributes) => ({ y: regrouped(x, attributes, false) }),
  derivative: {
    saves: () => [],
    backward(run, { gradients: { y: dy }, into: { x: dx } }, { padding, ...attributes }) {
      if (dy === undefined || dx === undefined) return;
      const [inverse, padded] = [padding !== "removed", padding !== undefined];
      run.compute("regroup", { x: dy, ...attributes, inverse, padded, y: dx });
    },
    gradient: (_, attributes, { y: dy }) => ({ x: regrouped(dy, attributes, true) }),
  },
});

const wide = (size: number) => Math.ceil(size / 4) * 4;

function regrouped(x: Matrix, attributes: RegroupAttributes, back: boolean): Matrix {
  const from = sources(x.shape[1], attributes);
  const [rows] = x.shape;
  if (back === (attributes.padding === "removed")) {
    return matrixOf(rows, from.length, (row, col) => (from[col] === undefined ? 0 : at(x, row, from[col])));
  }
  const cols = from.filter((source) => source !== undefined).length;
  return matrixOf(rows, cols, (row, col) => at(x, row, from.indexOf(col)));
}

/** The column of x that each of y is, when they are sorted; undefined: a zero. @param all columns, where some may be of no group */
function sources(all: number, { groups, sizes, padding }: RegroupAttributes): readonly (number | undefined)[] {
  const width = sizes.reduce((sum, size) => sum + size, 0);
  const count = (first: number, length: number) => Array.from({ length }, (_, index) => first + index);
  const zeros = (size: number) =>
    Array.from({ length: padding === undefined ? 0 : wide(size) - size }, () => undefined);
  return sizes.flatMap((size, part) => {
    const begin = sizes.slice(0, part).reduce((sum, before) => sum + before, 0);
    const own = count(0, groups).flatMap((group) => [...count(group * width + begin, size), ...zeros(size)]);
    const others = padding === undefined ? all - groups * width : 0;
    return part === 0 ? [...own, ...count(groups * width, others)] : own;
  });
}
