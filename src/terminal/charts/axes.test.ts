import { expect, test } from "bun:test";
import { placeOn } from "./axes.ts";

test("what lies beyond an axis is drawn at its end", () => {
  const axis = { from: 1, to: 100, ticks: [], format: String };
  expect([0, 1, 50.5, 100, 1e6].map(placeOn(axis, [0, 200]))).toEqual([0, 0, 100, 200, 200]);
  const log = placeOn({ ...axis, isLog: true }, [0, 200]);
  expect([log(1), log(10), log(1e6)].map(Math.round)).toEqual([0, 100, 200]);
});
