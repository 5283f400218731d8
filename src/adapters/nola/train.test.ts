import { afterAll, beforeAll, expect, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import { createHash } from "node:crypto";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { philoxElement, philoxStream } from "../../compute/random/philox.ts";
import { DERIVED_MODULES, derivedErrors, type DerivedTrial, type FactorsOf } from "../testing/derived.ts";
import { baseOf } from "../testing/adapters.ts";
import { planNola } from "./plan.ts";
import { newNola, trainableNola } from "./method.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SEED = 2 ** 40 + 9;
const targets = { modules: DERIVED_MODULES, config: { target_modules: ["q", "v", "down"], layers_to_transform: null } };

function settingsOf(rank: number, bases: number) {
  const own = { targets: ["q"], layers: [], initAdapter: null, initCommit: null, initSha256: null };
  return { rank, alpha: 3, dropout: 0, bases, basisSeed: "-5", ...own };
}

/** A = A₀ + Σ cᵢUᵢ/√k, B = Σ dᵢVᵢ/√k by the plain definition, from the element map of philox-v1. */
function factorsOf(rank: number, bases: number): FactorsOf {
  // An element of philox-v1 is (2b − 255)/255 · √(765/257).
  const element = (stream: 0 | 1, index: number) =>
    Math.round((philoxElement(philoxStream(-5n, stream, "dense", 1), index) * 255) / Math.sqrt(765 / 257)) / 255;
  const cache = new Map<string, Float64Array>();
  const drawn = (stream: 0 | 1, most: number, length: number) => {
    const key = `${stream},${length}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const all = Float64Array.from({ length: bases * rank * length }, (_, at) => {
      const [row, col] = [Math.floor(at / length), at % length];
      return element(stream, row * most + col);
    });
    cache.set(key, all);
    return all;
  };
  return ({ name, out, in: input }, parameters) => {
    const sum = (stream: 0 | 1, most: number, length: number, side: "A" | "B") => {
      const coefficients = parameters.get(`${name}.nola_coefficients_${side}`) ?? new Float64Array();
      const elements = drawn(stream, most, length);
      return Float64Array.from({ length: rank * length }, (_, at) => {
        let total = 0;
        for (let i = 0; i < bases; i++) total += itemAt(coefficients, i) * itemAt(elements, i * rank * length + at);
        return total / Math.sqrt(bases);
      });
    };
    const stream = createHash("sha256").update(name).digest().readUInt32LE(0);
    const initial = kaimingUniform(rank, input, SEED, stream);
    const bt = sum(1, 44, out, "B");
    return {
      rank,
      scale: 3 / rank,
      a: sum(0, 53, input, "A").map((value, at) => value + itemAt(initial, at)),
      b: Float64Array.from({ length: out * rank }, (_, at) => itemAt(bt, (at % rank) * out + Math.floor(at / rank))),
    };
  };
}

test.each<[rank: number, bases: number, more: Pick<DerivedTrial, "staging" | "dropout">]>([
  [8, 12, {}],
  [8, 12, { staging: { kind: "workgroup" } }],
  [3, 17, { dropout: 0.25 }],
  [3, 17, { dropout: 0.25, staging: { kind: "workgroup" } }],
  [1, 1, {}],
  [5, 40, {}],
])("y, ∂loss/∂x and the coefficients' gradients: rank %d, %d bases, %j", async (rank, bases, more) => {
  const before = gpu.memory.liveBytes;
  const adapter = newNola(settingsOf(rank, bases), targets, "base", SEED);
  const shapes = DERIVED_MODULES.map(({ tensor, out, in: input }) => [tensor, [out, input]] as const);
  const plan = planNola(adapter, baseOf(Object.fromEntries(shapes), {}));
  const trainable = trainableNola(plan, more.dropout ?? 0, SEED);
  const errors = await derivedErrors(gpu, { trainable, factors: factorsOf(rank, bases), seed: SEED, ...more });
  expect(errors.y).toBeLessThan(1e-5);
  expect(errors.dx).toBeLessThan(1e-5);
  expect(errors.gradient).toBeLessThan(1e-5);
  expect(gpu.memory.liveBytes).toBe(before);
});
