import { expect, test } from "bun:test";
import { Pace } from "./pace.ts";

test("a piece of a prompt that texts wait for takes as long as two of their steps, within bounds", () => {
  const pace = new Pace(192);
  expect([pace.piece(false), pace.piece(true)]).toEqual([192, 32]);
  pace.stepped(30);
  pace.read(100, 100);
  expect(pace.piece(true)).toBe(60);
  // What short ones took is not taken again, as far as a piece is worth it.
  expect([pace.piece(false, 20), pace.piece(true, 20), pace.piece(true, 50)]).toEqual([172, 40, 32]);
  // Later tokens see more keys.
  for (let at = 0; at < 50; at++) pace.read(50, 32);
  expect(pace.piece(true)).toBe(38);
  for (let at = 0; at < 50; at++) pace.stepped(1000);
  expect(pace.piece(true)).toBe(192);
});
