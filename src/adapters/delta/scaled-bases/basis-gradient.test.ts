import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { place } from "../../../compute/tensor/cases/placed.ts";
import { itemAt } from "../../../files/item-at.ts";
import { roundFromF64, widenToF32 } from "../../../files/safetensors/numbers.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { error, numbers, placed, taken } from "../../testing/bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

interface Case {
  readonly name: string;
  readonly out: number;
  readonly in: number;
  readonly r: number;
  readonly terms: number;
  readonly left?: "F32" | "F16" | "BF16";
}

const CASES: readonly Case[] = [
  { name: "several tiles, odd sizes", out: 75, in: 70, r: 5, terms: 19 },
  { name: "more terms than one partial sum", out: 40, in: 37, r: 3, terms: 300 },
  { name: "one basis", out: 40, in: 8, r: 8, terms: 5 },
  { name: "two bases of a large rank", out: 70, in: 66, r: 33, terms: 7 },
  { name: "r = 1", out: 90, in: 90, r: 1, terms: 4 },
  { name: "one token, r above m", out: 9, in: 6, r: 9, terms: 1 },
  { name: "bf16", out: 60, in: 50, r: 6, terms: 60, left: "BF16" },
  { name: "f16", out: 60, in: 50, r: 6, terms: 60, left: "F16" },
];

const VARIED = CASES.flatMap((trial) =>
  (["peft", "paper"] as const).map((pairing: Pairing) => [`${trial.name}, ${pairing}`, trial, pairing] as const),
);

/** A matrix stored as `dtype`, with values that it holds. */
function stored(rows: number, cols: number, dtype: "F32" | "F16" | "BF16"): { tensor: Tensor; values: Float32Array } {
  const values = numbers(rows * cols);
  const bytes = new Uint8Array(values.length * (dtype === "F32" ? 4 : 2));
  roundFromF64(Float64Array.from(values), dtype, bytes);
  widenToF32(bytes, dtype, values);
  const matrix = { shape: [rows, cols], data: Float64Array.from(values) } as const;
  return { tensor: place(gpu, { matrix, dtype }), values };
}

test.each(VARIED)("dλ and dγ equal the f64 reference: %s", async (_, trial, pairing) => {
  const shape = randloraShape(trial.out, trial.in, trial.r);
  const { terms: rows, cols, bases: n, r } = shape;
  const left = stored(trial.terms, rows, trial.left ?? "F32");
  const [right, a] = [numbers(trial.terms * cols), numbers(r * (cols + 3))];
  const [lambda, gamma] = [numbers(r * n), numbers(n * cols)];
  const [oldLambda, oldGamma] = [numbers(r * n), numbers(n * cols)];
  const bytes = gpu.scratchBytes("basisGradient", shape);
  const gradient = {
    shape,
    pairing,
    left: left.tensor,
    right: placed(gpu, [trial.terms, cols], right),
    scale: 0.75,
    a: placed(gpu, [r, cols + 3], a),
    lambda: placed(gpu, [r, n], lambda, 64),
    gamma: placed(gpu, [n, cols], gamma, 128),
    lambdaGradient: placed(gpu, [r, n], oldLambda, 64),
    gammaGradient: placed(gpu, [n, cols], oldGamma, 64),
    lambdaParts: gpu.memory.allocate("λ parts", bytes.lambdaParts),
    gammaParts: gpu.memory.allocate("γ parts", bytes.gammaParts),
  };
  using run = new Run(gpu);
  run.compute("basisGradient", gradient);
  await run.submit();

  const [wantedLambda, wantedGamma] = [Float64Array.from(oldLambda), Float64Array.from(oldGamma)];
  for (let q = 0; q < rows; q++) {
    const k = pairing === "peft" ? Math.floor(q / n) : q % r;
    const j = pairing === "peft" ? q % n : Math.floor(q / r);
    for (let c = 0; c < cols; c++) {
      let ds = 0;
      for (let t = 0; t < trial.terms; t++) ds += itemAt(left.values, t * rows + q) * itemAt(right, t * cols + c);
      const part = 0.75 * ds * itemAt(a, k * (cols + 3) + c);
      const [atLambda, atGamma] = [k * n + j, j * cols + c];
      wantedLambda[atLambda] = itemAt(wantedLambda, atLambda) + part * itemAt(gamma, atGamma);
      wantedGamma[atGamma] = itemAt(wantedGamma, atGamma) + part * itemAt(lambda, atLambda);
    }
  }
  expect(error(await taken(gpu, gradient.lambdaGradient), wantedLambda)).toBeLessThan(1e-5);
  expect(error(await taken(gpu, gradient.gammaGradient), wantedGamma)).toBeLessThan(1e-5);
  for (const buffer of [gradient.lambdaParts, gradient.gammaParts]) gpu.memory.release(buffer);
  for (const tensor of Object.values(gradient)) {
    if (typeof tensor === "object" && "pitch" in tensor) gpu.memory.release(tensor.buffer);
  }
});
