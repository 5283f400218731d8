import { expect, test } from "bun:test";
import { Pace } from "./pace.ts";

test("a piece of a prompt that texts wait for takes as long as two of their steps, or four beside two prompts, within bounds", () => {
  const pace = new Pace(192);
  expect([pace.piece(false, 3), pace.piece(true, 1), pace.piece(true, 3)]).toEqual([192, 32, 64]);
  pace.stepped(30);
  pace.read(100, 100);
  expect([1, 2, 3, 4].map((prompts) => pace.piece(true, prompts))).toEqual([60, 120, 120, 120]);
  // What short ones took is not taken again, as far as a piece is worth it.
  expect([pace.piece(false, 1, 20), pace.piece(true, 2, 20), pace.piece(true, 2, 100)]).toEqual([172, 100, 32]);
  // Later tokens see more keys.
  for (let at = 0; at < 50; at++) pace.read(50, 32);
  expect(pace.piece(true, 1)).toBe(38);
  for (let at = 0; at < 50; at++) pace.stepped(1000);
  expect(pace.piece(true, 1)).toBe(192);
});
