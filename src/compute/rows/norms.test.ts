import { expect, test } from "bun:test";
import { evaluate } from "./f64.ts";
import { scaleColumns } from "./arithmetic.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { mul, type Node, type RowKernel, rows, sum, within } from "./language.ts";

/** Two segments of two numbers, which share the other operands. */
const valuesOf = ({ targets }: RowKernel, numbers: Readonly<Record<string, number>>) => {
  const operands = { x: [1, 7, 6, -8], weight: [2, 3], scale: [2, 3], bias: [10, 20], residual: [1, 2, 3, 4] };
  const data = Object.fromEntries(Object.entries(operands).map(([name, of]) => [name, Float64Array.from(of)]));
  return [...evaluate(targets["y"], 4, data, numbers, 2)].map((value) => value.toFixed(9));
};

const texts = (...numbers: readonly number[]) => numbers.map((value) => value.toFixed(9));

// Devices are held to the f64 of the same graph, which is wrong with it.
test("what rows are, by hand", () => {
  const [five, other] = [5, Math.sqrt(50)];
  const rms = texts(3 / five, 28 / five, 18 / other, -32 / other);
  expect(valuesOf(rmsNorm.kernel(), { epsilon: 0, offset: 1 })).toEqual(rms);
  const deviation = Math.sqrt(56);
  const normed = [-6 / 4, 9 / 4, 14 / deviation, -21 / deviation];
  const shifted = texts(...normed.map((value, at) => value + 10 + 10 * (at % 2)));
  expect(valuesOf(layerNorm.kernel(), { epsilon: 7 })).toEqual(texts(...normed));
  expect(valuesOf(layerNorm.kernel(undefined, undefined, ["bias"]), { epsilon: 7 })).toEqual(shifted);
  expect(valuesOf(scaleColumns.kernel(undefined, undefined, ["bias", "residual"]), {})).toEqual(texts(13, 43, 25, 0));
  expect(valuesOf(scaleColumns.kernel(undefined, undefined, ["residual"]), {})).toEqual(texts(3, 23, 15, -20));
});

test("within is refused where there is no sum", () => {
  const kernel = (value: (x: Node) => Node) =>
    rows({ name: "test", inputs: ["x"], value: ({ x }) => value(x), cases: [] }).kernel();
  expect(() => kernel((x) => within(mul(x, x))).targets).toThrow("row kernel test: within without a sum");
  expect(kernel((x) => sum(within(mul(x, x)))).sums).toBe(true);
});
