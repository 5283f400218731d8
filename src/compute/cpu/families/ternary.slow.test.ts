import { afterAll, beforeAll, expect, test } from "bun:test";
import { DeltaBases } from "../../../adapters/delta/scaled-bases/delta.ts";
import type { Bases } from "../../../adapters/frozen/drawing/draw.ts";
import { randloraShape } from "../../../adapters/randlora/plan.ts";
import { basesFor, numbers, placed, type Stored, taken } from "../../../adapters/testing/bases.ts";
import type { DeltaBasis } from "../../device/families/delta.ts";
import { readElement } from "../../device/matrix-storage.ts";
import { sliceRows, type Tensor } from "../../device/tensor.ts";
import type { TernaryRows } from "../../device/ternary-rows.ts";
import { uploaded } from "../../device/transfer.ts";
import { recordGemm } from "../../tensor/gemm.ts";
import { Run } from "../../tensor/run.ts";
import { CpuDevice } from "../cpu.ts";

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 2 });
});
afterAll(() => device.close());

/** Whole numbers, whose sums are exact in any order: results are compared bit by bit. */
function wholeNumbers(count: number): Float32Array<ArrayBuffer> {
  return numbers(count, 100).map(Math.round);
}

/** More terms than a table has, nothing a multiple of anything; sparse ones are looked up in tables, very sparse ones listed. */
const SHAPE = randloraShape(331, 290, 7);
const TOKENS = [1, 37, 600] as const;
const STORED: readonly Stored[] = ["ternary", "philox, sparse", "philox, very sparse"];
const CASES = STORED.flatMap((stored) => TOKENS.map((tokens) => [stored, tokens] as const));

/** B̂ (rows, terms) as −1, 0 and 1, from row `first` on. */
function signs({ b }: Bases, first: number): Float32Array<ArrayBuffer> {
  const { rows, terms } = SHAPE;
  return Float32Array.from({ length: (rows - first) * terms }, (_, at) =>
    Math.sign(readElement(b, first + Math.floor(at / terms), at % terms)),
  );
}

async function product(order: "NT" | "NN", stored: Stored, tokens: number, first: number): Promise<void> {
  const bases = basesFor(stored, [SHAPE]);
  const onDevice = await DeltaBases.create(device, bases, "peft");
  const [rows, terms] = [SHAPE.rows - first, SHAPE.terms];
  const [inner, outer] = order === "NT" ? [terms, rows] : [rows, terms];
  const values = wholeNumbers(tokens * inner);
  const before = wholeNumbers(tokens * outer);
  const a = placed(device, [tokens, inner], values, 64);
  const y = placed(device, [tokens, outer], before, 64);
  using run = new Run(device);
  recordGemm(run, { order, a, b: { basis: onDevice.b, first, shape: [rows, terms] }, y, scale: 0.5, accumulate: true });
  await run.submit();
  const found = await taken(device, y);
  const elements = signs(bases, first);
  const wanted = Float64Array.from(before);
  // Of many tokens some.
  const isChosen = (token: number) => token < 3 || token % 13 === 0 || token === tokens - 1;
  for (let token = 0; token < tokens; token++) {
    if (!isChosen(token)) continue;
    for (let row = 0; row < rows; row++) {
      for (let q = 0; q < terms; q++) {
        const [from, to] = order === "NT" ? [q, row] : [row, q];
        const at = token * outer + to;
        wanted[at] = (wanted[at] ?? 0) + 0.5 * (values[token * inner + from] ?? 0) * (elements[row * terms + q] ?? 0);
      }
    }
  }
  expect(found.findIndex((value, at) => isChosen(Math.floor(at / outer)) && value !== wanted[at])).toBe(-1);
  for (const { buffer } of [a, y]) device.memory.release(buffer);
  onDevice.release();
}

test.each(CASES)("h·B̂ᵀ is exact: %s, %d tokens", (stored, tokens) => product("NT", stored, tokens, 13));
test.each(CASES)("x·B̂ is exact: %s, %d tokens", (stored, tokens) => product("NN", stored, tokens, 5));

/** A stored basis of ±1 without zeros; `value` is what its density is told by. */
function full(rows: number, terms: number, value: number): { basis: DeltaBasis; signs: Float32Array } {
  const stride = Math.ceil(terms / 16) * 16;
  const codes = new Uint32Array((rows * stride) / 16);
  const signs = Float32Array.from(numbers(rows * terms), (sign) => (sign < 0 ? -1 : 1));
  signs.forEach((sign, index) => {
    const at = Math.floor(index / terms) * stride + (index % terms);
    codes[at >> 4] = (codes[at >> 4] ?? 0) | ((sign < 0 ? 2 : 1) << (2 * (at & 15)));
  });
  return {
    basis: { buffer: uploaded(device, "B̂", codes), storage: "ternary", stride, value, philox: undefined },
    signs,
  };
}

test.each([
  ["more rows than a table serves", 2100, 150, 1],
  ["rows whose lists are longer than their density lets expect", 200, 2100, 40],
])("h·B̂ᵀ is exact: %s", async (_, rows, terms, value) => {
  const { basis, signs } = full(rows, terms, value);
  const values = wholeNumbers(80 * terms);
  const a = placed(device, [80, terms], values);
  const y = placed(device, [80, rows], []);
  using run = new Run(device);
  recordGemm(run, { order: "NT", a, b: { basis, first: 0, shape: [rows, terms] }, y });
  await run.submit();
  const wanted = Array.from({ length: 80 * rows }, (_, at) => {
    const [token, row] = [Math.floor(at / rows), at % rows];
    let sum = 0;
    for (let q = 0; q < terms; q++) sum += (values[token * terms + q] ?? 0) * (signs[row * terms + q] ?? 0);
    return sum;
  });
  expect([...(await taken(device, y))]).toEqual(wanted);
  for (const buffer of [a.buffer, y.buffer, basis.buffer]) device.memory.release(buffer);
});

test("a row's sums are the same whatever is computed beside it", async () => {
  const onDevice = await DeltaBases.create(device, basesFor("ternary", [SHAPE]), "peft");
  const a = placed(device, [40, SHAPE.rows], numbers(40 * SHAPE.rows));
  const [all, one] = [40, 1].map((tokens) => placed(device, [tokens, SHAPE.terms], new Float32Array()));
  if (all === undefined || one === undefined) throw new Error("two results");
  using run = new Run(device);
  const b = { basis: onDevice.b, first: 0, shape: [SHAPE.rows, SHAPE.terms] } as const;
  recordGemm(run, { order: "NN", a, b, y: all });
  recordGemm(run, { order: "NN", a: sliceRows(a, 23, 1), b, y: one });
  await run.submit();
  const rows = await taken(device, all);
  expect([...rows.subarray(23 * SHAPE.terms, 24 * SHAPE.terms)]).toEqual([...(await taken(device, one))]);
  for (const { buffer } of [a, all, one]) device.memory.release(buffer);
  onDevice.release();
});

test.each(STORED)("dλ and dγ from B̂ as it lies are those from unpacked elements: %s", async (stored) => {
  const { rows, terms, cols, bases: n, r } = SHAPE;
  const cpu = basesFor(stored, [SHAPE]);
  const onDevice = await DeltaBases.create(device, cpu, "peft");
  const bytes = device.scratchBytes("basisGradient", SHAPE);
  const shared = {
    shape: SHAPE,
    pairing: "peft",
    right: placed(device, [rows, cols], wholeNumbers(rows * cols)),
    scale: 1,
    a: placed(device, [r, cols], numbers(r * cols)),
    lambda: placed(device, [r, n], numbers(r * n)),
    gamma: placed(device, [n, cols], numbers(n * cols)),
    lambdaParts: device.memory.allocate("λ parts", bytes.lambdaParts),
    gammaParts: device.memory.allocate("γ parts", bytes.gammaParts),
  } as const;
  const results = async (left: Tensor | TernaryRows) => {
    const lambdaGradient = placed(device, [r, n], []);
    const gammaGradient = placed(device, [n, cols], []);
    using run = new Run(device);
    run.compute("basisGradient", { ...shared, left, lambdaGradient, gammaGradient });
    await run.submit();
    return [await taken(device, lambdaGradient), await taken(device, gammaGradient)];
  };
  const lying = await results({ basis: onDevice.b, first: 0, shape: [rows, terms] });
  const unpacked = await results(placed(device, [rows, terms], signs(cpu, 0)));
  expect(lying).toEqual(unpacked);
  expect(lying[0]?.some((value) => value !== 0)).toBe(true);
  onDevice.release();
});
