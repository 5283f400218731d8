import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../device/testing/open.ts";
import { read } from "../device/transfer.ts";
import { OPS } from "./ops/index.ts";
import { Run } from "./run.ts";
import { sliceCols, sliceRows, tensorBytes, tensorIn } from "./tensor.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
});
afterAll(() => gpu.close());

test("a run gives all its memory back, and what is kept is the caller's", async () => {
  const before = gpu.memory.liveBytes;
  let kept;
  {
    using run = new Run(gpu);
    const a = run.upload(
      "a",
      [3, 5],
      Float32Array.from({ length: 15 }, (_, at) => at),
    );
    const { y } = run.apply(OPS.add, { a, b: a }, {});
    const { y: twice } = run.apply(OPS.add, { a: y, b: y }, {});
    run.release(y);
    const { y: more } = run.apply(OPS.add, { a: twice, b: a }, {});
    expect(more.buffer).toBe(y.buffer); // released memory serves the next op
    kept = run.keep(more);
    await run.submit();
  }
  const values = new Float32Array((await read(gpu, kept.buffer)).buffer);
  expect([...values.subarray(0, 8)]).toEqual([0, 5, 10, 15, 20, 0, 0, 0]);
  gpu.memory.release(kept.buffer);
  expect(gpu.memory.liveBytes).toBe(before);
});

test("what is flushed has run, its memory is still the run's, and lengths that differ little share memory", async () => {
  using run = new Run(gpu);
  const ones = run.upload("ones", [997, 64], new Float32Array(997 * 64).fill(1));
  const { y: twos } = run.apply(OPS.add, { a: ones, b: ones }, {});
  await run.flush();
  const { y: fours } = run.apply(OPS.add, { a: twos, b: twos }, {});
  run.release(twos);
  const { y: other } = run.apply(OPS.add, { a: sliceRows(fours, 0, 990), b: sliceRows(ones, 0, 990) }, {});
  expect(other.buffer).toBe(twos.buffer);
  run.keep(other);
  await run.submit();
  const values = new Float32Array((await read(gpu, other.buffer)).buffer, 0, 990 * 64);
  expect(values.every((value) => value === 5)).toBe(true);
  gpu.memory.release(other.buffer);
});

test("a long recording is sent in pieces, in its order", async () => {
  for (const count of [256, 600]) {
    using run = new Run(gpu);
    const one = run.upload("one", [1, 4], new Float32Array(4).fill(1));
    let { y: sum } = run.apply(OPS.add, { a: one, b: one }, {});
    for (let at = 1; at < count; at++) {
      const { y } = run.apply(OPS.add, { a: sum, b: one }, {});
      run.release(sum);
      sum = y;
    }
    run.keep(sum);
    await run.submit();
    expect(new Float32Array((await read(gpu, sum.buffer)).buffer)).toEqual(new Float32Array(4).fill(count + 1));
    gpu.memory.release(sum.buffer);
  }
});

test("shapes that do not fit are named", () => {
  using run = new Run(gpu);
  const a = run.allocate("a", [3, 4]);
  const b = run.allocate("b", [3, 8]);
  expect(() => run.apply(OPS.add, { a, b }, {})).toThrow("add: a 3×4, b 3×8: the shapes must be equal");
  expect(() => run.apply(OPS.add, { a, b: a }, {}, { y: b })).toThrow("add: y is 3×4 F32, not 3×8 F32");
  expect(() => sliceCols(b, 2, 4)).toThrow("multiples of 4");
  expect(() => sliceRows(b, 2, 4)).toThrow("rows 2 to 6 of 3");
  run.release(a);
  expect(() => run.release(a)).toThrow("a: not of this run, or released twice");
});

test("a matrix above the binding limit is read in blocks of rows", async () => {
  const cols = 1024;
  const rows = Math.floor(SMALL_BINDING / cols / 4) + 37;
  // Zeros, but for the last row.
  const table = tensorIn(gpu.memory.allocate("table", tensorBytes([rows, cols], "F32")), [rows, cols], "F32");
  const last = Float32Array.from({ length: cols }, (_, at) => Math.sin(at));
  gpu.clear([table.buffer]);
  gpu.write(table.buffer, last, (rows - 1) * cols * 4);
  using run = new Run(gpu);
  const ids = run.upload("ids", [1, 2], Uint32Array.of(rows - 1, 0));
  const { y } = run.apply(OPS.embedding, { ids, table }, { scale: 1 });
  const { y: products } = run.apply(OPS.linear, { x: y, weight: table, bias: undefined, residual: undefined }, {});
  run.keep(y);
  run.keep(products);
  await run.submit();
  expect(new Float32Array((await read(gpu, y.buffer)).buffer)).toEqual(
    Float32Array.from([...last, ...last.map(() => 0)]),
  );
  const found = new Float32Array((await read(gpu, products.buffer)).buffer);
  expect(found[rows - 1]).toBeCloseTo(
    last.reduce((sum, value) => sum + value * value, 0),
    2,
  );
  expect(found[0]).toBe(0);
  for (const { buffer } of [table, y, products]) gpu.memory.release(buffer);
});
