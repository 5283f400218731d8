import { expect, test } from "bun:test";
import { itemAt } from "../../../files/item-at.ts";
import { finishSteps } from "../../frozen/drawing/bases.ts";
import { noise } from "../testing/models.ts";
import { bestFactorSteps } from "../../convert/to-lora.ts";
import { intruderSteps, INTRUDERS } from "./intruders.ts";

const random = (length: number, seed: number, size = 1) => {
  const next = noise(seed);
  return Float64Array.from({ length }, () => size * next());
};

function unit(vector: Float64Array): Float64Array {
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, at) => sum + value * itemAt(b, at), 0);

/** By all singular vectors of both. */
function reference(rows: number, cols: number, weight: Float64Array, adapted: Float64Array): number {
  const left = (data: Float64Array) =>
    finishSteps(bestFactorSteps({ rows, cols, data }, { rank: undefined, energy: 1 })).left.map(unit);
  const base = left(weight);
  return left(adapted)
    .slice(0, INTRUDERS.top)
    .filter((one) => base.every((other) => Math.abs(dot(one, other)) < INTRUDERS.epsilon)).length;
}

/** W with a spectrum that falls, and ΔW of rank 3 of a given size. */
function matrices(rows: number, cols: number, size: number) {
  const [u, v] = [random(rows * 3, 2), random(cols * 3, 3, size)];
  const weight = random(rows * cols, 1).map((value, at) => value * Math.exp(-(at % cols) / cols));
  const adapted = weight.map((value, at) => {
    const [row, col] = [Math.floor(at / cols), at % cols];
    return value + [0, 1, 2].reduce((sum, k) => sum + itemAt(u, row * 3 + k) * itemAt(v, col * 3 + k), 0);
  });
  return { weight, adapted };
}

test.each([
  [40, 40],
  [30, 71],
  [71, 30],
  [6, 9],
])("of %i × %i there are as many as all singular vectors say", (rows, cols) => {
  let most = 0;
  for (const size of [0, 0.3, 1, 3]) {
    const { weight, adapted } = matrices(rows, cols, size);
    const found = finishSteps(intruderSteps({ rows, cols, data: weight }, { rows, cols, data: adapted }));
    expect(found.length).toBe(reference(rows, cols, weight, adapted));
    for (const { value, left, right } of found) {
      // A singular pair: (W + ΔW)·right = value·left.
      const product = Float64Array.from({ length: rows }, (_, row) =>
        right.reduce((sum, one, col) => sum + one * itemAt(adapted, row * cols + col), 0),
      );
      product.forEach((one, row) => expect(Math.abs(one - value * itemAt(left, row)) / value).toBeLessThan(1e-7));
    }
    most = Math.max(most, found.length);
    if (size === 0) expect(found).toEqual([]);
  }
  if (rows > 6) expect(most).toBeGreaterThan(0);
});

test("what grows along a direction that W has is none; zero weights have none", () => {
  const diagonal = (value: (at: number) => number) =>
    Float64Array.from({ length: 144 }, (_, at) => (at % 13 === 0 ? value(at / 13) : 0));
  const square = (data: Float64Array) => ({ rows: 12, cols: 12, data });
  const weight = square(diagonal((at) => 12 - at));
  expect(finishSteps(intruderSteps(weight, square(diagonal((at) => (at === 11 ? 100 : 12 - at)))))).toEqual([]);
  expect(finishSteps(intruderSteps(weight, square(new Float64Array(144))))).toEqual([]);
});
