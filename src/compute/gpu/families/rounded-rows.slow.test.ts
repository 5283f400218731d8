import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CpuDevice } from "../../cpu/cpu.ts";
import type { Device } from "../../device/device.ts";
import type { Staging } from "../../device/staging.ts";
import { Run } from "../../tensor/run.ts";
import { tensorBytes, type Tensor, tensorIn } from "../../tensor/tensor.ts";
import { type Operand, random } from "../../tensor/cases/case.ts";
import { place, relativeError, take } from "../../tensor/cases/placed.ts";
import { Gpu } from "../gpu.ts";

// Integer dot products make of rounded rows what the CPU device makes of them: far nearer to that than to exact products.

let gpu: Gpu;
let cpu: CpuDevice;
beforeAll(async () => {
  gpu = await Gpu.open({ limits: "guaranteed" });
  cpu = await CpuDevice.open({ threads: 2 });
});
afterAll(() => {
  gpu.close();
  cpu.close();
});

const COMPILE_TIMEOUT = 120_000;
const DOTS: Staging = { kind: "workgroup", integerDots: true };
const FLOATS: Staging = { kind: "workgroup" };

/** y of a family's command, (rows, cols), from operands that are placed on this device. */
async function computed(
  device: Device,
  staging: Staging,
  operands: Readonly<Record<string, Operand>>,
  [rows, cols]: readonly [number, number],
  record: (run: Run, placed: (name: string) => Tensor, y: Tensor) => void,
): Promise<Float64Array> {
  const placed = new Map(Object.entries(operands).map(([name, operand]) => [name, place(device, operand)]));
  using run = new Run(device, staging);
  const y = run.keep(run.allocate("y", [rows, cols]));
  record(
    run,
    (name) => {
      const tensor = placed.get(name);
      if (tensor === undefined) throw new Error(`no ${name}`);
      return tensor;
    },
    y,
  );
  await run.submit();
  const { values } = await take(device, y);
  for (const { buffer } of [y, ...placed.values()]) device.memory.release(buffer);
  return values;
}

/** x Wᵀ in one way. */
async function product(device: Device, staging: Staging, x: Operand, weight: Operand): Promise<Float64Array> {
  const shape = [x.matrix.shape[0], weight.matrix.shape[0]] as const;
  return computed(device, staging, { x, weight }, shape, (run, placed, y) => {
    const inputs = { x: placed("x"), weight: placed("weight"), bias: undefined, residual: undefined, scale: 1 };
    run.compute("linear", { ...inputs, y });
  });
}

describe.each(["Q8_0", "Q4_0"] as const)("%s", (dtype) => {
  test.each([
    [5, 32, 5],
    [6, 288, 51],
    [9, 2080, 70],
    [33, 32, 9],
    [70, 800, 131],
  ])(
    "products of %d rows of %d with %d are the CPU device's",
    async (rows, terms, cols) => {
      const [x, weight] = [random(rows, terms), random(cols, terms, dtype)];
      // Rows and blocks of other sizes, and zeros: each has a scale of its own.
      x.matrix.data.forEach((value, at) => {
        const [row, block] = [Math.floor(at / terms), Math.floor((at % terms) / 256)];
        x.matrix.data[at] = row === 2 && block === 0 ? 0 : Math.fround(value * 10 ** (((row + block) % 3) - 1));
      });
      const found = await product(gpu, DOTS, x, weight);
      const wanted = await product(cpu, cpu.staging, x, weight);
      expect(relativeError(found, wanted)).toBeLessThan(1e-6);
      const exact = await product(gpu, FLOATS, x, weight);
      expect(relativeError(exact, wanted)).toBeLessThan(1e-4);
      expect(relativeError(exact, wanted)).toBeGreaterThan(2e-6);
    },
    COMPILE_TIMEOUT,
  );

  test.each([undefined, "branch"] as const)(
    "rows are rounded once they are normalized, with %p",
    async (joined) => {
      const [rows, terms, cols] = [6, 320, 48];
      const operands = {
        x: random(rows, terms),
        norm: random(1, terms),
        weight: random(cols, terms, dtype),
        bias: random(1, cols),
        branch: random(rows, terms),
        branchNorm: random(1, terms),
        sum: random(rows, terms),
      };
      const on = (device: Device, staging: Staging) =>
        computed(device, staging, operands, [rows, cols / 2], (run, placed, y) => {
          const branch =
            joined === undefined
              ? undefined
              : { x: placed("branch"), weight: placed("branchNorm"), sum: placed("sum") };
          const norm = { weight: placed("norm"), epsilon: 1e-5, offset: 1, branch };
          const bias = joined === undefined ? placed("bias") : undefined;
          const gate = "silu";
          run.compute("normedLinear", { x: placed("x"), norm, weight: placed("weight"), bias, gate, y });
        });
      const wanted = await on(cpu, cpu.staging);
      expect(relativeError(await on(gpu, DOTS), wanted)).toBeLessThan(5e-5); // a norm's last bits may round another way
      expect(relativeError(await on(gpu, FLOATS), wanted)).toBeLessThan(3e-4);
    },
    COMPILE_TIMEOUT,
  );

  test(
    "what is not finite makes no numbers of its row, or of its block's column",
    async () => {
      const rows = 6;
      const [x, weight] = [random(rows, 288), random(40, 288, dtype)];
      const last = rows - 1;
      for (const bad of [Infinity, -Infinity, NaN]) {
        x.matrix.data[last * 288 + 270] = bad;
        for (const staging of [DOTS, FLOATS]) {
          const y = await product(gpu, staging, x, weight);
          expect([...y].map(Number.isFinite)).toEqual(Array.from(y, (_, at) => Math.floor(at / 40) !== last));
        }
      }
      x.matrix.data[last * 288 + 270] = 0;
      for (const bad of [Infinity, NaN]) {
        weight.matrix.data[7 * 288 + 33] = bad;
        for (const staging of [DOTS, FLOATS]) {
          const y = await product(gpu, staging, x, weight);
          expect([...y].map(Number.isFinite)).toEqual(Array.from(y, (_, at) => at % 40 !== 7));
        }
      }
    },
    COMPILE_TIMEOUT,
  );

  test(
    "few rows are multiplied in f32: rounding would be a command more for each product of a token",
    async () => {
      const [x, weight] = [random(4, 288), random(51, 288, dtype)];
      expect(await product(gpu, DOTS, x, weight)).toEqual(await product(gpu, FLOATS, x, weight));
    },
    COMPILE_TIMEOUT,
  );

  test(
    "the largest and the smallest numbers of x, and zeros, are numbers",
    async () => {
      const weight = random(8, 64, dtype);
      const sizes = [3e38 / 32, 1e-25, 1e-36, 1e-42, 0];
      const one = random(1, 64).matrix.data;
      const data = Float64Array.from(sizes.flatMap((size) => Array.from(one, (value) => Math.fround(value * size))));
      const x: Operand = { dtype: "F32", matrix: { shape: [sizes.length, 64], data } };
      const y = await product(gpu, DOTS, x, weight);
      const unit = await product(gpu, DOTS, { dtype: "F32", matrix: { shape: [1, 64], data: one } }, weight);
      const row = (at: number) => y.subarray(at * 8, at * 8 + 8);
      // Both are rounded to 15 bits of their largest element: each is off by half a unit of that at most, in every term.
      const unitOfRounding = 2 ** -14 * Math.max(...Array.from(one, Math.abs));
      for (const at of [0, 1]) {
        const size = sizes[at] ?? NaN;
        for (const [column, value] of row(at).entries()) {
          const terms = weight.matrix.data.subarray(column * 64, column * 64 + 64);
          const most = unitOfRounding * terms.reduce((sum, term) => sum + Math.abs(term), 0);
          expect(Math.abs(value / size - (unit[column] ?? NaN))).toBeLessThanOrEqual(most);
        }
      }
      for (const at of [2, 3, 4]) expect(row(at).every((value) => Math.abs(value) < 1e-34)).toBe(true);
    },
    COMPILE_TIMEOUT,
  );
});

test(
  "rows above the binding limit are rounded in parts",
  async () => {
    const terms = 2080;
    const binding = 2 ** 20;
    const small = gpu.binding(binding);
    const shape = [Math.floor(binding / (4 * terms)) + 37, terms] as const;
    const x = tensorIn(small.memory.allocate("x", tensorBytes(shape, "F32")), shape, "F32");
    small.clear([x.buffer]);
    const [few, of] = [random(5, terms), random(8, terms, "Q8_0")];
    const chosen = [3, 95, 96, shape[0] - 2, shape[0] - 1];
    for (const [at, row] of chosen.entries()) {
      const values = Float32Array.from(few.matrix.data.subarray(at * terms, (at + 1) * terms));
      small.write(x.buffer, values, row * x.pitch * 4);
    }
    const weight = place(small, of);
    using run = new Run(small, DOTS);
    const y = run.keep(run.allocate("y", [shape[0], 8]));
    run.compute("linear", { x, weight, bias: undefined, residual: undefined, scale: 1, y });
    await run.submit();
    const { values } = await take(small, y);
    const wanted = await product(gpu, DOTS, few, of);
    for (const [at, row] of chosen.entries()) {
      expect(values.slice(row * 8, row * 8 + 8)).toEqual(wanted.slice(at * 8, at * 8 + 8));
      values.fill(0, row * 8, row * 8 + 8);
    }
    expect(values.every((value) => value === 0)).toBe(true);
    for (const { buffer } of [x, weight, y]) small.memory.release(buffer);
  },
  COMPILE_TIMEOUT,
);
