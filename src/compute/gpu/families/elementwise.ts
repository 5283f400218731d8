import type { Elementwise } from "../../device/families/elementwise.ts";
import type { Tensor } from "../../device/tensor.ts";
import { rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { ELEMENTWISE_WIDTH, elementwiseKernel } from "../kernels/elementwise.ts";

/** Rows of one dispatch at most; a multiple of 32, as `rowBlocks` cuts. */
const MOST_ROWS = 65_504;

/** Matrices above the binding limit take several dispatches. Results in one buffer take one where that can be bound at once. */
export function elementwise(on: Dispatcher, { kernel: rows, tensors, number = 1 }: Elementwise): void {
  const targets = Object.keys(rows.targets);
  const results = targets.flatMap((target) => tensors[target] ?? []);
  const inOne = new Set(results.map(({ buffer }) => buffer)).size < results.length;
  const apart = inOne && sameRows(on, results).length > 1;
  for (const some of apart ? targets.map((target) => [target]) : [targets]) {
    const { kernel, operands } = elementwiseKernel(rows, some, inOne && !apart);
    const width = Math.ceil((results[0]?.shape[1] ?? 0) / 4);
    const numbers = Object.fromEntries(rows.parameters.map((parameter) => [parameter, number]));
    const all = operands.map((operand) => tensors[operand]);
    const isShared = operands.map((operand) => rows.shared.includes(operand));
    const matrices = all.map((tensor, at) => (isShared[at] === true ? undefined : tensor));
    for (const { rows: count, bound: blocks } of sameRows(on, matrices)) {
      const bound = all.map((tensor, at) => (isShared[at] === true ? tensor : blocks[at]));
      const places = Object.fromEntries(operands.map((operand, at) => [operand, bound[at]]));
      const bindings = inOne && !apart ? bound.slice(0, operands.length - some.length + 1) : bound;
      on.dispatch(kernel, { width, ...places, ...numbers }, bindings, [Math.ceil(width / ELEMENTWISE_WIDTH), count]);
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
