import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { padded4 } from "../../../compute/device/families/delta.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read, uploaded } from "../../../compute/device/transfer.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { itemAt } from "../../../files/item-at.ts";
import { type Bases, type BasesSpec, drawBases } from "../../frozen/drawing/draw.ts";
import type { StdCache } from "../../files/std-cache.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { DeltaBases, deltaReference } from "./delta.ts";

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
  /** The shape that the bases were drawn at; the layer's own by default. */
  readonly drawn?: { readonly max: number; readonly min: number };
  readonly generator?: BasesSpec["generator"];
  readonly sparsity?: BasesSpec["sparsity"];
  readonly grid?: BasesSpec["grid"];
  readonly pairing?: Pairing;
  readonly staging?: Staging;
  readonly accumulate?: boolean;
  readonly conv1d?: boolean;
}

const NO_CACHE: StdCache = { get: () => null, set: () => {} };
const WORKGROUP: Staging = { kind: "workgroup" };
const SPARSE = { generator: "torch-mt19937-ternary", sparsity: "sparse" } as const;
const VERY_SPARSE = { generator: "torch-mt19937-ternary", sparsity: "very-sparse" } as const;
const PHILOX = { generator: "philox-v1", sparsity: "dense" } as const;

/** Shapes: square, both rectangles, r not dividing, fewer bases than a vector, odd sizes, several tiles and partial sums. */
const CASES: readonly Case[] = [
  { name: "square", out: 48, in: 48, r: 4 },
  { name: "out > in, odd sizes", out: 75, in: 37, r: 5 },
  { name: "out < in, odd sizes", out: 37, in: 75, r: 5 },
  { name: "one basis", out: 40, in: 8, r: 8 },
  { name: "two bases of three", out: 9, in: 6, r: 3 },
  { name: "r = 1", out: 16, in: 16, r: 1 },
  { name: "r above the size", out: 10, in: 6, r: 9 },
  { name: "one row", out: 1, in: 33, r: 2 },
  { name: "slices of larger bases", out: 40, in: 24, r: 5, drawn: { max: 91, min: 57 } },
  { name: "slices, out < in", out: 24, in: 40, r: 5, drawn: { max: 91, min: 57 } },
  { name: "more terms than one partial sum", out: 300, in: 290, r: 8 },
  { name: "Conv1D, in > out", out: 40, in: 72, r: 6, conv1d: true },
  { name: "Conv1D, in < out", out: 72, in: 40, r: 6, conv1d: true },
  { name: "f32 storage", out: 50, in: 30, r: 4, generator: "torch-mt19937-f32" },
  { name: "f16 storage", out: 50, in: 30, r: 4, generator: "torch-mt19937-f16-v2", grid: "f16" },
  { name: "sparse", out: 70, in: 50, r: 6, ...SPARSE },
  { name: "sparse, out < in", out: 50, in: 70, r: 6, ...SPARSE, grid: "bf16" },
  { name: "very sparse", out: 70, in: 50, r: 6, ...VERY_SPARSE },
  { name: "philox", out: 70, in: 50, r: 6, ...PHILOX },
  { name: "philox, slices at odd places", out: 50, in: 70, r: 3, ...PHILOX, drawn: { max: 99, min: 77 } },
  { name: "philox beyond 2^32 elements", out: 70000, in: 2, r: 1, ...PHILOX, drawn: { max: 70000, min: 70000 } },
  { name: "philox, sparse", out: 70, in: 50, r: 7, generator: "philox-v1", sparsity: "sparse" },
  { name: "philox, very sparse", out: 70, in: 50, r: 7, generator: "philox-v1", sparsity: "very-sparse" },
  { name: "philox on bf16's grid", out: 70, in: 50, r: 6, ...PHILOX, grid: "bf16" },
  { name: "philox on f16's grid", out: 50, in: 70, r: 3, ...PHILOX, grid: "f16", drawn: { max: 99, min: 77 } },
  { name: "philox, sparse on bf16's grid", out: 70, in: 50, r: 7, ...PHILOX, sparsity: "sparse", grid: "bf16" },
  { name: "philox, very sparse on f16's grid", out: 50, in: 70, r: 7, ...PHILOX, sparsity: "very-sparse", grid: "f16" },
];

/** Each case with PEFT's pairing, each second with the paper's, beside what is there; each fourth as a workgroup sums. */
const VARIED: readonly Case[] = CASES.flatMap((base, at) => [
  base,
  ...(at % 2 === 1
    ? [{ ...base, name: `${base.name}, the paper's pairing`, pairing: "paper", accumulate: true } as const]
    : []),
  ...(at % 4 === 0 ? [{ ...base, name: `${base.name}, workgroup staging`, staging: WORKGROUP, accumulate: true }] : []),
]);

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function setUp(test_: Case) {
  const large = Math.max(test_.out, test_.in);
  const small = Math.min(test_.out, test_.in);
  const { max, min } = test_.drawn ?? { max: large, min: small };
  const n = Math.ceil(small / test_.r);
  const spec: BasesSpec = {
    generator: test_.generator ?? "torch-mt19937-bf16-v2",
    key: 7n,
    r: test_.r,
    max,
    min,
    sparsity: test_.sparsity ?? "dense",
    grid: test_.grid ?? "f32",
  };
  const bases = drawBases(spec, { rows: large, bases: n, cols: small }, NO_CACHE);
  const next = random(test_.out * 1000 + test_.in);
  const lambda = Float32Array.from({ length: test_.r * n }, next);
  const gamma = Float32Array.from({ length: n * small }, () => next() / small);
  const before = Float32Array.from({ length: test_.out * test_.in }, next);
  return { bases, lambda, gamma, before };
}

/** ΔW in f64, in the order in which W is stored. */
function expected(test_: Case, bases: Bases, lambda: Float32Array, gamma: Float32Array, scale: number): Float64Array {
  const layer = {
    shape: randloraShape(test_.out, test_.in, test_.r),
    lambda,
    gamma,
    scale,
    pairing: test_.pairing ?? "peft",
  };
  const delta = deltaReference(bases, layer);
  if (test_.conv1d !== true) return delta;
  return delta.map((_, at) => itemAt(delta, (at % test_.out) * test_.in + Math.floor(at / test_.out)));
}

/** Rows without gaps from rows of `pitch` elements. */
function dense(source: Float32Array, rows: number, cols: number, pitch: number): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, at) =>
    itemAt(source, Math.floor(at / cols) * pitch + (at % cols)),
  );
}

test.each(VARIED.map((test_) => [test_.name, test_] as const))("ΔW equals the f64 reference: %s", async (_, test_) => {
  const { bases, lambda, gamma, before } = setUp(test_);
  const { accumulate = false, pairing = "peft", staging = gpu.staging, conv1d = false } = test_;
  const scale = 1.5;
  const delta = expected(test_, bases, lambda, gamma, scale);
  const [rows, cols] = conv1d ? [test_.in, test_.out] : [test_.out, test_.in];
  const pitch = padded4(cols);
  const there = new Float32Array(rows * pitch).fill(NaN);
  for (let row = 0; row < rows; row++) there.set(before.subarray(row * cols, (row + 1) * cols), row * pitch);
  const kernel = await DeltaBases.create(gpu, bases, pairing);
  const shape = randloraShape(test_.out, test_.in, test_.r);
  const layer = kernel.layer({ shape, lambda, gamma, scale, weightIsTransposed: conv1d });
  const target = uploaded(gpu, "target", there);
  using run = new Run(gpu, staging);
  kernel.form(run, layer, { firstRow: 0, rows, pitch, target, accumulate });
  await run.submit();
  const ours = dense(new Float32Array((await read(gpu, target)).buffer), rows, cols, pitch);
  gpu.memory.release(target);
  kernel.releaseLayer(layer);
  kernel.release();

  const largest = delta.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let worst = 0;
  delta.forEach((value, at) => {
    const want = accumulate ? value + itemAt(before, at) : value;
    const ulp = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(want), 1e-30))) - 23);
    worst = Math.max(worst, Math.abs(itemAt(ours, at) - want) / (2e-6 * largest + ulp));
    if (Number.isNaN(ours[at])) worst = NaN;
  });
  expect(worst).toBeLessThanOrEqual(1);
});

test("parameters of another size are refused", async () => {
  const [first] = VARIED;
  if (first === undefined) throw new Error("no case");
  const { bases, lambda, gamma } = setUp(first);
  const kernel = await DeltaBases.create(gpu, bases, "peft");
  const known = { shape: randloraShape(first.out, first.in, first.r), scale: 1, weightIsTransposed: false };
  for (const less of [
    { lambda: lambda.slice(1), gamma },
    { lambda, gamma: gamma.slice(1) },
  ]) {
    expect(() => kernel.layer({ ...known, ...less })).toThrow(RangeError);
  }
  kernel.release();
});
