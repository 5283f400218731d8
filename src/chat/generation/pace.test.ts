import { expect, test } from "bun:test";
import { LEAST, Pace } from "./pace.ts";

test("a piece of a prompt that texts wait for takes as long as some of their steps, within bounds", () => {
  const pace = new Pace(192);
  expect([false, true].map((isWaitedFor) => pace.piece(isWaitedFor))).toEqual([192, LEAST]);
  pace.passed(30, true, 0);
  pace.passed(100, false, 100);
  // A few tokens say nothing of a piece.
  pace.passed(100, false, LEAST - 1);
  expect(pace.piece(true)).toBe(45);
  // Later tokens see more keys.
  for (let at = 0; at < 50; at++) pace.passed(50, false, 32);
  expect(pace.piece(true)).toBe(29);
  for (let at = 0; at < 50; at++) pace.passed(1000, true, 0);
  expect(pace.piece(true)).toBe(192);
  // Of a pass over both a piece takes what a step does not, and a part of it at least.
  for (let at = 0; at < 50; at++) pace.passed(1640, true, 32);
  expect(pace.piece(true)).toBe(75);
  for (let at = 0; at < 50; at++) pace.passed(900, true, 32);
  expect(pace.piece(true)).toBe(192);
});
