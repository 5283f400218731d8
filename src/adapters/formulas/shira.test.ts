import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { numbers, placed, taken } from "../testing/bases.ts";
import { testFormula } from "../testing/formula.ts";
import { SHIRA } from "./shira.ts";

testFormula(SHIRA, [
  [23, 10, 3],
  [10, 24, 5],
  [9, 9, 4],
]);

const OWN = { mask_type: "random", init_weights: true };

test("more elements than a dispatch takes are each in their place, and their gradients are", async () => {
  await using gpu = await openTestDevice();
  const [out, input, r] = [150, 121, 30];
  const count = r * (out + input);
  const indices = SHIRA.start({ out, in: input }, { r, own: OWN }, 1, 0).indices?.() ?? new Float32Array();
  const at = (t: number) => itemAt(indices, t) * input + itemAt(indices, count + t);
  expect(new Set(Array.from({ length: count }, (_, t) => at(t))).size).toBe(count);
  const [w, g] = [numbers(count), numbers(out * input)];
  const formula = SHIRA.formula({ out, in: input }, { r, own: OWN });
  const [rows, of] = [
    placed(gpu, [out, input], []),
    { w: placed(gpu, [1, count], w), indices: placed(gpu, [2, count], indices) },
  ];
  const [given, gradients] = [placed(gpu, [out, input], g), { ...of, w: placed(gpu, [1, count], []) }];
  using run = new Run(gpu);
  formula.form(run, of, 2, { first: 0, rows, values: { indices } }, false);
  formula.fold(run, of, 2, { first: 0, rows: given, values: { indices } }, gradients);
  await run.submit();
  const wanted = new Float64Array(out * input);
  w.forEach((value, t) => (wanted[at(t)] = 2 * value));
  expect(await taken(gpu, rows)).toEqual(wanted);
  expect(await taken(gpu, gradients.w)).toEqual(Float64Array.from(w, (_, t) => 2 * itemAt(g, at(t))));
});

test.each([
  ["twice at a place", [0, 0, 1], [1, 1, 0]],
  ["in another order", [1, 0, 1], [0, 1, 1]],
  ["below", [0, 1, 2], [0, 0, 0]],
  ["beside", [0, 1, 1], [2, 0, 1]],
  ["between", [0, 0.5, 1], [0, 1, 0]],
])("elements that are %s are refused", async (_, rowsOf, colsOf) => {
  await using gpu = await openTestDevice();
  // Four elements: the last one stands where it may.
  const indices = [...rowsOf, 1, ...colsOf, 1];
  const formula = SHIRA.formula({ out: 2, in: 2 }, { r: 1, own: OWN });
  const of = { w: placed(gpu, [1, 4], [1, 2, 3, 4]), indices: placed(gpu, [2, 4], indices) };
  using run = new Run(gpu);
  const rows = placed(gpu, [2, 2], []);
  expect(() => formula.form(run, of, 1, { first: 0, rows, values: { indices } }, false)).toThrow(
    "of shira_indices, at (",
  );
});
