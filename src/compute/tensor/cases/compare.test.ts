import { expect, test } from "bun:test";
import { openTestDevice } from "../../device/testing/open.ts";
import { matrixOf } from "../op.ts";
import { isRight } from "./compare.ts";
import { placed } from "./families/case.ts";
import { compareFamily, type FamilyCase } from "./families/index.ts";

test("a result is right within its tolerance, and where its rows end with zeros", () => {
  const comparison = { of: "y", error: 1e-4, tolerance: 1e-4, isPadded: true };
  expect(isRight(comparison)).toBe(true);
  expect(isRight({ ...comparison, error: 1.1e-4 })).toBe(false);
  expect(isRight({ ...comparison, error: NaN })).toBe(false);
  expect(isRight({ ...comparison, isPadded: false })).toBe(false);
});

test("a family that leaves other numbers than it must is found out", async () => {
  using device = await openTestDevice();
  const leaving = (add: number): FamilyCase => ({
    family: "adamw",
    format: "F32",
    name: "not run at all",
    record(run) {
      const x = placed(run, 2, 4);
      const { data } = x.matrix;
      return [{ of: "x", tensor: x, wanted: matrixOf(2, 4, (row, col) => (data[4 * row + col] ?? NaN) + add) }];
    },
  });
  const areRight = async (add: number) => (await compareFamily(leaving(add), device)).map(isRight);
  expect([await areRight(0), await areRight(0.01)]).toEqual([[true], [false]]);
});
