import { describe, expect, test } from "bun:test";
import { Contradiction } from "../../../files/errors.ts";
import { refusalOf } from "../../../files/testing/folder.ts";
import { type CombineFlags, combineWish, onePerAdapter } from "./plans.ts";

const SUM: CombineFlags = { combine: "sum", density: [], majoritySign: undefined, seed: undefined };
const refused = (flags: Partial<CombineFlags>) => refusalOf(async () => combineWish({ ...SUM, ...flags }));

describe("--combine", () => {
  test("dare is dare-linear; a sum needs nothing", () => {
    expect(combineWish({ ...SUM, combine: "dare", density: [0.5], seed: 3 })).toMatchObject({
      how: "dare-linear",
      seed: 3,
    });
    expect(combineWish(SUM)).toMatchObject({ how: "sum", densities: [] });
  });

  test("all others need a density", async () => {
    const { code, message, hint } = await refused({ combine: "ties" });
    expect([code, message, hint]).toEqual(["usage", "--combine ties needs --density", expect.stringContaining("0.2")]);
  });

  test.each<[Partial<CombineFlags>, string]>([
    [{ density: [0.5] }, "--density has no meaning for --combine sum"],
    [{ combine: "magnitude-prune", density: [1], majoritySign: "total" }, "--majority-sign has no meaning"],
    [{ combine: "ties", density: [1], seed: 1 }, "--seed has no meaning for --combine ties"],
  ])("%j: what has no meaning gives way to what is typed, or is refused", async (flags, message) => {
    const refusal = await refused(flags);
    expect([refusal instanceof Contradiction, refusal.message]).toEqual([true, expect.stringContaining(message)]);
  });
});

test("a value is given once for all, or once for each adapter", async () => {
  expect(onePerAdapter("scale", [], ["a", "b"], 1)).toEqual([1, 1]);
  expect(onePerAdapter("scale", [2], ["a", "b"], 1)).toEqual([2, 2]);
  expect(onePerAdapter("scale", [2, 3], ["a", "b"], 1)).toEqual([2, 3]);
  const refusal = await refusalOf(async () => onePerAdapter("density", [1, 1, 1], ["a", "b"], 1));
  expect(refusal.message).toBe("--density is given 3 times for 2 adapters");
});
