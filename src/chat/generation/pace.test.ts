import { expect, test } from "bun:test";
import { BUSY, EVEN, Pace } from "./pace.ts";

test("a piece of a prompt that texts wait for takes as long as some of their steps, within bounds", () => {
  const pace = new Pace(192);
  expect([undefined, EVEN, BUSY].map((share) => pace.piece(share))).toEqual([192, 12, 24]);
  pace.stepped(30);
  pace.read(100, 100);
  // A few tokens say nothing of a piece.
  pace.read(100, 11);
  expect([EVEN, BUSY].map((share) => pace.piece(share))).toEqual([45, 60]);
  // What short ones took is not taken again, as far as a piece is worth it.
  expect([pace.piece(undefined, 20), pace.piece(BUSY, 20), pace.piece(BUSY, 50)]).toEqual([172, 40, 24]);
  // Later tokens see more keys.
  for (let at = 0; at < 50; at++) pace.read(50, 32);
  expect(pace.piece(BUSY)).toBe(38);
  for (let at = 0; at < 50; at++) pace.stepped(1000);
  expect(pace.piece(BUSY)).toBe(192);
});
