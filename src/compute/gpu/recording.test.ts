import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { read } from "../device/transfer.ts";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import { tensorBytes, tensorIn } from "../tensor/tensor.ts";
import { rowBlocks } from "./bindings.ts";
import type { Gpu } from "./gpu.ts";
import { openTestGpu } from "../device/testing/open.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu("guaranteed");
});
afterAll(() => gpu.close());

test("a recording that the GPU refuses gives all its memory back", async () => {
  const before = gpu.memory.liveBytes;
  {
    using run = new Run(gpu);
    const rows = gpu.limits.maxRows + 1;
    const ids = run.upload("ids", [1, rows], new Uint32Array(rows));
    const table = run.upload("table", [1, 4], new Float32Array(4));
    run.apply(OPS.add, { a: table, b: table }, {});
    run.apply(OPS.embedding, { ids, table }, { scale: 1 });
    await expect(run.submit()).rejects.toMatchObject({ code: "gpu" });
  }
  expect(gpu.memory.liveBytes).toBe(before);
});

test("no more dispatches are on their way than a process has mappings of memory for", async () => {
  using run = new Run(gpu);
  const one = run.upload("one", [1, 4], new Float32Array(4).fill(1));
  const { y } = run.apply(OPS.add, { a: one, b: one }, {});
  // The GPU seems to do nothing until it is let.
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const done = spyOn(gpu.device.queue, "onSubmittedWorkDone").mockReturnValue(promise);
  for (let at = 0; at < 10_000; at++) run.apply(OPS.add, { a: one, b: one }, {}, { y });
  let isSent = false;
  const sent = run.submit().then(() => (isSent = true));
  await Bun.sleep(200);
  expect(isSent).toBe(false);
  resolve(undefined);
  await sent;
  expect(done).toHaveBeenCalledTimes(2);
  done.mockRestore();
  await gpu.idle();
});

test("a rehearsal runs one workgroup of each kernel and leaves nothing recorded", async () => {
  using run = new Run(gpu);
  const ones = run.upload("ones", [3, 4], new Float32Array(12).fill(1));
  const out = tensorIn(gpu.memory.allocate("out", 48), [3, 4], "F32");
  gpu.write(out.buffer, new Float32Array(12).fill(7));
  run.apply(OPS.add, { a: ones, b: ones }, {}, { y: out });
  await run.rehearse();
  await run.submit();
  // A workgroup is part of one row.
  const values = [...new Float32Array((await read(gpu, out.buffer)).buffer)];
  expect(values).toEqual([2, 2, 2, 2, 7, 7, 7, 7, 7, 7, 7, 7]);
  gpu.memory.release(out.buffer);
});

test("a matrix above the binding limit is bound in blocks of rows", () => {
  const cols = 1024;
  const rows = Math.floor(gpu.limits.maxBindingSize / cols / 4) + 37;
  const { memory } = gpu.counting();
  const table = tensorIn(memory.allocate("table", tensorBytes([rows, cols], "F32")), [rows, cols], "F32");
  const blocks = rowBlocks({ gpu }, table, 4096);
  expect(blocks.length).toBeGreaterThan(7);
  expect(blocks.reduce((sum, block) => sum + block.rows, 0)).toBe(rows);
});
