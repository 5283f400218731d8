import { columnsOf, type Elementwise } from "../../device/families/elementwise.ts";
import type { Tensor } from "../../device/tensor.ts";
import { rowBlocks } from "../bindings.ts";
import { COLUMNS } from "../../rows/language.ts";
import type { Dispatcher } from "../context.ts";
import { ELEMENTWISE_WIDTH, elementwiseKernel } from "../kernels/elementwise.ts";

/** Rows of one dispatch at most; a multiple of 32, as `rowBlocks` cuts. */
const MOST_ROWS = 65_504;

/** Matrices above the binding limit take several dispatches. Results in one buffer take one where that can be bound at once. */
export function elementwise(on: Dispatcher, { kernel: rows, tensors, numbers: given = {} }: Elementwise): void {
  const targets = Object.keys(rows.targets);
  const results = targets.flatMap((target) => tensors[target] ?? []);
  const inOne = new Set(results.map(({ buffer }) => buffer)).size < results.length;
  const apart = inOne && sameRows(on, results).length > 1;
  for (const some of apart ? targets.map((target) => [target]) : [targets]) {
    const { kernel, operands } = elementwiseKernel(rows, some, inOne && !apart);
    const columns = columnsOf(rows, tensors);
    const width = Math.ceil(columns / 4);
    const segments = (results[0]?.shape[1] ?? 0) / columns;
    const numbers = { ...given, [COLUMNS]: columns };
    const all = operands.map((operand) => tensors[operand]);
    const isShared = operands.map((operand) => rows.shared.includes(operand));
    const matrices = all.map((tensor, at) => (isShared[at] === true ? undefined : tensor));
    for (const { rows: count, bound: blocks } of sameRows(on, matrices)) {
      const bound = all.map((tensor, at) => (isShared[at] === true ? tensor : blocks[at]));
      const places = Object.fromEntries(operands.map((operand, at) => [operand, bound[at]]));
      const bindings = inOne && !apart ? bound.slice(0, operands.length - some.length + 1) : bound;
      const grid: [number, number] = rows.sums
        ? [count, segments]
        : [Math.ceil((width * segments) / ELEMENTWISE_WIDTH), count];
      on.dispatch(kernel, { width, segments, ...places, ...numbers }, bindings, grid);
    }
  }
}

/** Splits operands of equally many rows alike, so that each part can be bound and dispatched. */
export function sameRows(on: Dispatcher, tensors: readonly (Tensor | undefined)[]) {
  const whole = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(on, tensor, MOST_ROWS)));
  // The first block of a tensor is its largest; the last one is what was left.
  const most = Math.min(...whole.map(([first]) => first?.rows ?? MOST_ROWS));
  const all = tensors.map((tensor) => (tensor === undefined ? [] : rowBlocks(on, tensor, most)));
  const [longest = []] = all.toSorted((left, right) => right.length - left.length);
  return longest.map(({ rows }, index) => ({ rows, bound: all.map((blocks) => blocks[index]) }));
}
