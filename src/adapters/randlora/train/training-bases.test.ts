import { afterAll, beforeAll, expect, test } from "bun:test";
import { Gpu } from "../../../gpu/gpu.ts";
import { read } from "../../../gpu/transfer.ts";
import { bf16ToF32 } from "../../../safetensors/numbers.ts";
import { Run } from "../../../tensor/run.ts";
import { readElement } from "../storage.ts";
import { moduleShape } from "./shape.ts";
import { basesFor, taken } from "./train.fixture.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => gpu.close());

test.each(["ternary", "philox", "philox, sparse", "philox, very sparse"] as const)(
  "packed elements become exact bf16 numbers: %s",
  async (stored) => {
    const shape = moduleShape(75, 37, 5);
    const cpu = basesFor(stored, [shape, moduleShape(90, 61, 5)]);
    const bases = await TrainingBases.create(gpu, cpu, "peft");
    expect(bases.panelBytes(shape)).toBe(80 * 40 * 2);
    const panel = gpu.memory.allocate("panel", bases.panelBytes(shape));
    using run = new Run(gpu);
    const [block, more] = [...bases.rows(run, shape, panel)];
    await run.submit();
    expect(more).toBeUndefined();
    expect(block?.tensor.shape).toEqual([75, 40]);
    const bits = new Uint16Array((await read(gpu, panel)).buffer);
    for (let row = 0; row < 75; row++) {
      for (let q = 0; q < 40; q++) {
        const value = Math.fround(bf16ToF32(bits[row * 40 + q] ?? 0) * bases.unit);
        const wanted = readElement(cpu.b, row, q);
        // A dense element is the f32 nearest to its true value, and so is this up to one rounding.
        if (Math.abs(value - wanted) > 2 ** -23 * Math.abs(wanted)) expect([row, q, value]).toEqual([row, q, wanted]);
      }
    }
    gpu.memory.release(panel);
    bases.release();
  },
);

test("columns beyond the last are zero, and large bases come in blocks of rows", async () => {
  const shape = moduleShape(70_003, 37, 37);
  const cpu = basesFor("ternary", [shape]);
  const bases = await TrainingBases.create(gpu, cpu, "peft");
  const panel = gpu.memory.allocate("panel", bases.panelBytes(shape));
  using run = new Run(gpu);
  let rows = 0;
  for (const { first, tensor } of bases.rows(run, shape, panel)) {
    expect(first).toBe(rows);
    rows += tensor.shape[0];
    await run.submit();
    const bits = new Uint16Array((await read(gpu, panel)).buffer);
    const last = tensor.shape[0] - 1;
    for (let q = 0; q < 40; q++) {
      const wanted = q < 37 ? Math.sign(readElement(cpu.b, first + last, q)) : 0;
      expect(bf16ToF32(bits[last * 40 + q] ?? 0)).toBe(wanted);
    }
  }
  expect(rows).toBe(70_003);
  gpu.memory.release(panel);
  bases.release();
});

test("A is widened to its true values", async () => {
  const shape = moduleShape(75, 37, 5);
  for (const stored of ["bf16", "ternary", "philox, very sparse"] as const) {
    const cpu = basesFor(stored, [shape]);
    const bases = await TrainingBases.create(gpu, cpu, "paper");
    const values = await taken(gpu, bases.a);
    values.forEach((value, i) => expect(value).toBe(readElement(cpu.a, Math.floor(i / 37), i % 37)));
    bases.release();
  }
});
