import { expect, test } from "bun:test";
import { LEAST, Pace } from "./prompt-pieces.ts";

test("a piece of a prompt that texts wait for takes as long as some of their steps, within bounds", () => {
  const pace = new Pace(192);
  expect([false, true].map((isWaitedFor) => pace.piece(isWaitedFor, 0))).toEqual([192, LEAST]);
  pace.passed(30, true, 0, 0);
  pace.passed(100, false, 100, 5000);
  // A few tokens say nothing of a piece.
  pace.passed(100, false, LEAST - 1, 0);
  expect(pace.piece(true, 0)).toBe(60);
  expect(pace.piece(true, 4000)).toBe(60);
  for (let at = 0; at < 50; at++) pace.passed(1000, true, 0, 0);
  expect(pace.piece(true, 0)).toBe(192);
  expect(pace.piece(false, 8000)).toBe(192);
});

test("the more keys a piece's tokens see, the fewer they are, whichever prompts came before", () => {
  const pace = new Pace(192);
  for (let at = 0; at < 50; at++) pace.passed(30, true, 0, 0);
  // A token takes 1.5, and 0.001 for each key.
  const time = (tokens: number, position: number): number => tokens * (1.5 + 0.001 * position);
  for (const position of [0, 6000, 100, 3000, 200, 7000]) {
    for (const isStep of [false, true]) {
      pace.passed(time(32, position) + (isStep ? 30 : 0), isStep, 32, 32 * position);
      pace.passed(0.5 * time(40, position) + 0.5 * time(40, 10), false, 40, 20 * position + 20 * 10);
    }
  }
  expect([0, 500, 1000, 2000, 8000].map((position) => pace.piece(true, position))).toEqual([40, 30, 24, 17, LEAST]);
  // The machine has become slower.
  for (const position of Array.from({ length: 300 }, (_, at) => (at % 7) * 1000)) {
    pace.passed(1.5 * time(32, position), false, 32, 32 * position);
  }
  expect(pace.piece(true, 0)).toBe(27);
});

test("a piece takes a part of a pass at least, and what no keys explain is the tokens' own", () => {
  const pace = new Pace(192);
  for (let at = 0; at < 50; at++) pace.passed(1000, true, 0, 0);
  for (let at = 0; at < 500; at++) pace.passed(1640, true, 32, 0);
  expect(pace.piece(true, 0)).toBe(100);
  for (let at = 0; at < 500; at++) pace.passed(900, true, 32, 0);
  expect(pace.piece(true, 0)).toBe(192);
  // Fewer keys took longer: they say nothing.
  for (let at = 0; at < 500; at++) pace.passed(at % 2 === 0 ? 2600 : 1000, false, 32, at % 2 === 0 ? 0 : 32 * 100);
  expect(pace.piece(true, 0)).toBe(pace.piece(true, 8000));
});
