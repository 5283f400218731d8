import { expect, test } from "bun:test";
import { RandloraError } from "../../../files/errors.ts";
import { heldBytes, type ProductsPlan } from "./held.ts";
import { formatProducts, parsePlans, planProducts, PRODUCTS } from "./adapted-method.ts";

const MATRICES = [
  {
    out: 24,
    in: 20,
    modules: [
      { out: 8, in: 20 },
      { out: 12, in: 20 },
    ],
  }, // W' 2304, ΔW 1920, G 1600
  { out: 6, in: 16, modules: [{ out: 6, in: 16 }] }, // W', ΔW and G 384
];

const said = (plans: readonly ProductsPlan[]) => plans.map(formatProducts);

test("W' is held as far as memory allows, then G where there is more than one micro-batch", () => {
  const plan = (budget: number, microBatches: number, dropout = false) =>
    said(planProducts({ matrices: MATRICES, microBatches, dropout, budget }));
  expect(MATRICES.map((matrix) => [heldBytes(matrix, false).merged, heldBytes(matrix, true).merged])).toEqual([
    [2304, 1920],
    [384, 384],
  ]);
  expect(plan(1e9, 1)).toEqual(["kept", "kept"]);
  expect(plan(1e9, 2)).toEqual(["kept+summed", "kept+summed"]);
  expect(plan(0, 2)).toEqual(["plain", "plain"]);
  expect(plan(2303, 2)).toEqual(["summed", "kept"]);
  expect(plan(2303, 2, true)).toEqual(["kept", "plain"]);
  expect(plan(2304 + 384 + 1599, 2)).toEqual(["kept", "kept+summed"]);
});

test("what a run has chosen is read again, and what fits no model is refused", () => {
  const plans = [false, true].flatMap((kept) => [false, true].map((summed) => ({ kept, summed })));
  expect(parsePlans(PRODUCTS, { products: said(plans) }, 4)).toEqual(plans);
  const refused = (products: string[] | number) => {
    try {
      parsePlans(PRODUCTS, { products }, 2, "state.json");
    } catch (thrown) {
      if (thrown instanceof RandloraError) return `${thrown.code} ${thrown.message}`;
    }
    return "taken";
  };
  expect(refused(["kept"])).toMatch(/^format state\.json: .*1 of them, and the model has 2 adapted matrices/);
  expect(refused(3)).toContain("none of them");
  expect(refused(["kept", "kept+kept"])).toContain('"kept+kept" says nothing');
});
