import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { itemAt } from "../../files/item-at.ts";
import type { BilinearAdapter } from "../delta/scaled-bases/place.ts";
import { memoryTensor } from "../files/tensors.ts";
import { type Bases, type BasesSpec, drawBases } from "../frozen/drawing/draw.ts";
import { type Stored, STORED } from "../testing/bases.ts";
import { DERIVED_MODULES, derivedErrors, type DerivedTrial, type FactorsOf } from "../testing/derived.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { matrixOf, untrainedAdapter } from "../method/train.ts";
import type { Trainable } from "../method/training.ts";
import { randloraShape } from "./plan.ts";
import { placeRankR } from "./rank-r.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SCALE = 0.6;
/** Bⱼ has some rows more than the modules need, and Aⱼ some columns. */
const FIRST_A = 53 + 4;
const MIN = 36 + 3;

function basesOf(stored: Stored, r: number): Bases {
  const spec: BasesSpec = { ...STORED[stored], key: 11n, r, max: FIRST_A + MIN, min: MIN };
  const extent = { rows: FIRST_A + 36, bases: Math.ceil(36 / r), cols: 36 };
  return drawBases(spec, extent, new MemoryStdCache());
}

function trainableOf(bases: Bases, r: number, dropout: number): Trainable {
  const layers = DERIVED_MODULES.map(({ name, out, in: input }) => {
    const sizes = randloraShape(out, input, r);
    const { bases: n, cols } = sizes;
    const zeros = (of: string, shape: readonly [number, number]) =>
      memoryTensor(`${name}.${of}`, "F32", shape, new Uint8Array(4 * shape[0] * shape[1]));
    const tensors = { lambda: zeros("lambda", [r, n]), gamma: zeros("gamma", [n, cols]) };
    const tensor = `${name}.weight`;
    const weight = { tensor, source: tensor, dtype: "F32", shape: [out, input], conv1d: false } as const;
    return { ...weight, module: name, out, in: input, sizes, tensors };
  });
  const plan = { adapter: untrainedAdapter({}, []), pairing: "paper", scale: SCALE, layers } as const;
  const adapter: BilinearAdapter = { ...plan, bases, basesFrom: "drawn" };
  return {
    parameters: layers.flatMap(({ tensors: { lambda, gamma } }) => [matrixOf(lambda), matrixOf(gamma)]),
    modules: [],
    notes: [],
    place: (on) => placeRankR(on, adapter, FIRST_A, { dropout, seed: 7 }),
  };
}

/** (Σⱼ BⱼΛⱼ)(Σⱼ AⱼΓⱼ) term by term: matrices, not sums of elements. */
function factorsOf(bases: Bases, r: number): FactorsOf {
  const { rows, cols } = bases.b;
  const elements = Float64Array.from({ length: rows * cols }, (_, at) => {
    return readElement(bases.b, Math.floor(at / cols), at % cols);
  });
  const element = (row: number, col: number) => itemAt(elements, row * cols + col);
  return ({ name, out, in: input }, parameters) => {
    const [long, short] = [Math.max(out, input), Math.min(out, input)];
    const n = Math.ceil(short / r);
    const [lambda, gamma] = [parameters.get(`${name}.lambda`), parameters.get(`${name}.gamma`)];
    const left = new Float64Array(long * r);
    const right = new Float64Array(r * short);
    for (let j = 0; j < n; j++) {
      for (let k = 0; k < r; k++) {
        for (let i = 0; i < long; i++) {
          left[i * r + k] = itemAt(left, i * r + k) + element(i, j * r + k) * (lambda?.[k * n + j] ?? NaN);
        }
        for (let c = 0; c < short; c++) {
          const factor = gamma?.[j * short + c] ?? NaN;
          right[k * short + c] = itemAt(right, k * short + c) + element(FIRST_A + c, j * r + k) * factor;
        }
      }
    }
    if (out >= input) return { rank: r, scale: SCALE, a: right, b: left };
    const turned = (matrix: Float64Array, rows: number, cols: number) =>
      Float64Array.from({ length: rows * cols }, (_, at) => itemAt(matrix, (at % rows) * cols + Math.floor(at / rows)));
    return { rank: r, scale: SCALE, a: turned(left, long, r), b: turned(right, r, short) };
  };
}

const STORAGES = Object.keys(STORED) as Stored[];

test.each<[stored: Stored, rank: number, more: Pick<DerivedTrial, "staging" | "dropout">]>([
  ...STORAGES.map((stored) => [stored, 5, {}] as [Stored, number, object]),
  ["bf16", 8, { staging: { kind: "workgroup" }, dropout: 0.25 }],
  ["philox", 4, { staging: { kind: "workgroup" } }],
  ["f32", 1, {}],
  ["ternary", 40, {}],
])("y, ∂loss/∂x and the gradients of λ and γ: %s, rank %d, %j", async (stored, rank, more) => {
  const before = gpu.memory.liveBytes;
  const bases = basesOf(stored, rank);
  const trainable = trainableOf(bases, rank, more.dropout ?? 0);
  const errors = await derivedErrors(gpu, { trainable, factors: factorsOf(bases, rank), seed: 7, ...more });
  expect(errors.y).toBeLessThan(1e-5);
  expect(errors.dx).toBeLessThan(1e-5);
  expect(errors.gradient).toBeLessThan(1e-5);
  expect(gpu.memory.liveBytes).toBe(before);
});
