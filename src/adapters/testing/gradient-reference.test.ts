import { describe, expect, test } from "bun:test";
import type { Pairing } from "../../compute/device/pairing.ts";
import { itemAt } from "../../files/item-at.ts";
import { drawBases } from "../frozen/drawing/draw.ts";
import { randloraShape } from "../randlora/plan.ts";
import { MemoryStdCache } from "./drawn-bases.ts";
import type { DeltaLayer } from "../delta/scaled-bases/delta.ts";
import { adapterGradients, adapterOutput } from "./gradient-reference.ts";

function waves(length: number, seed: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i + 0.3 * i * seed));
}

const SHAPES = [
  { name: "out > in", out: 9, in: 7, r: 3 },
  { name: "out < in", out: 6, in: 11, r: 4 },
  { name: "square, r divides", out: 6, in: 6, r: 3 },
  { name: "r above m", out: 2, in: 5, r: 4 },
];

const CASES = SHAPES.flatMap((shape) =>
  (["peft", "paper"] as const).flatMap((pairing: Pairing) =>
    [false, true].map((dropped) => ({ ...shape, pairing, dropped })),
  ),
);

describe("the gradients are those of finite differences", () => {
  test.each(CASES)("$name, $pairing, dropout $dropped", ({ out, in: input, r, pairing, dropped }) => {
    const tokens = 3;
    const { rows, cols, bases: n } = randloraShape(out, input, r);
    const bases = drawBases(
      { generator: "philox-v1", key: 5n, r, max: rows + 2, min: cols + 1, sparsity: "dense", grid: "f32" },
      { rows, bases: n, cols },
      new MemoryStdCache(),
    );
    const layer: DeltaLayer = {
      shape: randloraShape(out, input, r),
      lambda: waves(r * n, 1),
      gamma: waves(n * cols, 2),
      scale: 0.7,
      pairing,
    };
    const x = waves(tokens * input, 3);
    const dy = waves(tokens * out, 4);
    const mask = dropped ? x.map((_, i) => (i % 3 === 0 ? 0 : 1.5)) : undefined;
    const pass = { tokens, x, dy, ...(mask === undefined ? {} : { mask }) };
    const found = adapterGradients(bases, layer, pass);

    // A loss that is linear in y has dy as its gradient, whatever y is.
    const loss = (changed: Partial<Pick<DeltaLayer, "lambda" | "gamma">>, input_ = x) =>
      adapterOutput(bases, { ...layer, ...changed }, { ...pass, x: input_ }).reduce(
        (sum, value, i) => sum + value * itemAt(dy, i),
        0,
      );
    const difference = (values: ArrayLike<number>, at: number, of: (values: Float64Array) => number) => {
      const step = 1e-4;
      const [above, below] = [Float64Array.from(values), Float64Array.from(values)];
      above[at] = itemAt(above, at) + step;
      below[at] = itemAt(below, at) - step;
      return (of(above) - of(below)) / (2 * step);
    };
    found.lambda.forEach((value, at) =>
      expect(value).toBeCloseTo(
        difference(layer.lambda, at, (lambda) => loss({ lambda })),
        6,
      ),
    );
    found.gamma.forEach((value, at) =>
      expect(value).toBeCloseTo(
        difference(layer.gamma, at, (gamma) => loss({ gamma })),
        6,
      ),
    );
    found.x.forEach((value, at) =>
      expect(value).toBeCloseTo(
        difference(x, at, (changed) => loss({}, changed)),
        6,
      ),
    );
  });
});
