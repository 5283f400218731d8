import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { readElement } from "../../../compute/device/matrix-storage.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read } from "../../../compute/device/transfer.ts";
import { fromHalfBits } from "../../../compute/random/grid.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { itemAt } from "../../../files/item-at.ts";
import { bf16ToF32 } from "../../../files/safetensors/numbers.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, type Stored, taken } from "../../testing/bases.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const PACKED: readonly Stored[] = [
  "ternary",
  "philox",
  "philox, bf16",
  "philox, f16",
  "philox, sparse",
  "philox, very sparse",
  "philox, very sparse, f16",
];

test.each(PACKED)("packed elements become exact 16-bit numbers: %s", async (stored) => {
  const shape = randloraShape(75, 37, 5);
  const cpu = basesFor(stored, [shape, randloraShape(90, 61, 5)]);
  const bases = await TrainingBases.create(gpu, cpu, "peft");
  expect(bases.panelBytes(shape)).toBe(80 * 40 * 2);
  const panel = gpu.memory.allocate("panel", bases.panelBytes(shape));
  using run = new Run(gpu);
  const [block, more] = [...bases.rows(run, shape, panel)];
  await run.submit();
  expect(more).toBeUndefined();
  expect(block?.tensor.shape).toEqual([75, 40]);
  const isF16 = block?.tensor.dtype === "F16";
  expect(isF16).toBe(stored === "philox, f16");
  const bits = new Uint16Array((await read(gpu, panel)).buffer);
  for (let row = 0; row < 75; row++) {
    for (let q = 0; q < 40; q++) {
      const pattern = itemAt(bits, row * 40 + q);
      const value = Math.fround(fromHalfBits(pattern, isF16 ? "f16" : "bf16") * bases.unit);
      const wanted = readElement(cpu.b, row, q);
      // A dense element of f32 is the number nearest to its true value, and so is this up to one rounding.
      const error = stored === "philox" ? 2 ** -23 * Math.abs(wanted) : 0;
      if (Math.abs(value - wanted) > error) expect([row, q, value]).toEqual([row, q, wanted]);
    }
  }
  gpu.memory.release(panel);
  bases.release();
});

test("columns beyond the last are zero, and large bases come in blocks of rows", async () => {
  const shape = randloraShape(70_003, 37, 37);
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
      expect(bf16ToF32(itemAt(bits, last * 40 + q))).toBe(wanted);
    }
  }
  expect(rows).toBe(70_003);
  gpu.memory.release(panel);
  bases.release();
});

test.each(["philox", "philox, bf16", "philox, f16", "philox, very sparse, f16"] as const)(
  "bases that are drawn take a few bytes, whatever their size: %s",
  async (stored) => {
    const before = gpu.memory.liveBytes;
    const bases = await TrainingBases.create(gpu, basesFor(stored, [randloraShape(4096, 4096, 32)]), "peft");
    expect(gpu.memory.liveBytes - before - bases.a.buffer.size).toBeLessThan(64);
    bases.release();
    expect(gpu.memory.liveBytes).toBe(before);
  },
);

test("A is widened to its true values", async () => {
  const shape = randloraShape(75, 37, 5);
  for (const stored of ["bf16", "ternary", "philox, very sparse"] as const) {
    const cpu = basesFor(stored, [shape]);
    const bases = await TrainingBases.create(gpu, cpu, "paper");
    const values = await taken(gpu, bases.a);
    values.forEach((value, i) => expect(value).toBe(readElement(cpu.a, Math.floor(i / 37), i % 37)));
    bases.release();
  }
});

test.each(PACKED)("what B̂ costs is the share of its elements that products take time for: %s", async (stored) => {
  const shape = randloraShape(300, 290, 5);
  const cpu = basesFor(stored, [shape]);
  const bases = await TrainingBases.create(gpu, cpu, "peft");
  const isTernary = stored === "ternary" || stored.includes("sparse");
  let count = 0;
  for (let row = 0; row < shape.rows; row++) {
    for (let q = 0; q < shape.terms; q++) if (readElement(cpu.b, row, q) !== 0) count++;
  }
  const wanted = gpu.skipsZeros && isTernary ? count / (shape.rows * shape.terms) : 1;
  // Some five standard deviations of a share of 87,000 draws.
  expect(Math.abs(bases.density - wanted)).toBeLessThan(0.01);
  const asItLies = stored === "ternary" || (gpu.skipsZeros && isTernary);
  expect(bases.operandBytes(shape)).toBe(asItLies ? 0 : bases.panelBytes(shape));
  bases.release();
});
