import { expect, test } from "bun:test";
import { read } from "../../device/transfer.ts";
import { ids, random } from "../../tensor/cases/case.ts";
import { place } from "../../tensor/cases/placed.ts";
import { Run } from "../../tensor/run.ts";
import { Gpu } from "../gpu.ts";

test("more sums of groups than workgroups side by side handle", async () => {
  using gpu = await Gpu.open();
  const [cols, groups] = [64, gpu.limits.maxComputeWorkgroupsPerDimension + 5];
  const x = random(3, cols);
  // The first two rows are of the first group, the third of the last.
  const begins = ids(0, ...Array.from({ length: groups - 1 }, () => 2), 3);
  using run = new Run(gpu);
  const y = run.allocate("y", [1, groups * cols]);
  run.compute("groupSums", { x: place(gpu, x), begins: place(gpu, begins), y });
  await run.flush();
  const sums = new Float32Array((await read(gpu, y.buffer)).buffer, 0, groups * cols);
  const row = (at: number) => Float32Array.from(x.matrix.data.subarray(at * cols, (at + 1) * cols));
  const second = row(1);
  expect(sums.subarray(0, cols)).toEqual(row(0).map((value, col) => value + (second[col] ?? NaN)));
  expect(sums.subarray(cols, -cols).every((value) => value === 0)).toBe(true);
  expect(sums.subarray(-cols)).toEqual(row(2));
});
