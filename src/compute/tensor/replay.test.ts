import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { read } from "../device/transfer.ts";
import { ELEMENTWISE } from "../device/families/elementwise.ts";
import { recordElementwise } from "./elementwise.ts";
import { Replay } from "./replay.ts";
import { Run } from "./run.ts";
import { sliceRows, type Tensor, tensorBytes, tensorIn, write } from "./tensor.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const PLACES = 6;

function matrix(rows: number): Tensor {
  return tensorIn(gpu.memory.allocate("matrix", tensorBytes([rows, 4], "F32")), [rows, 4], "F32");
}

test("a recording is replayed at any place with other data, and gives its memory back", async () => {
  const before = gpu.memory.liveBytes;
  const [x, all] = [matrix(1), matrix(PLACES)];
  write(gpu, all, new Float32Array(4 * PLACES));
  const replay = new Replay(gpu, PLACES, (run, place) => {
    const twice = run.allocate("twice", [1, 4]);
    recordElementwise(run, ELEMENTWISE.add, x, x, twice);
    recordElementwise(run, ELEMENTWISE.copy, twice, undefined, sliceRows(all, place, 1));
    return twice;
  });
  for (const [place, value] of [
    [3, 1],
    [0, 2],
    [5, 3],
  ] as const) {
    write(gpu, x, new Float32Array(4).fill(value));
    await replay.send(place);
  }
  const rows = new Float32Array((await read(gpu, all.buffer)).buffer).filter((_, at) => at % 4 === 0);
  expect([...rows]).toEqual([4, 0, 0, 2, 0, 6]);
  expect(new Float32Array((await read(gpu, replay.result.buffer)).buffer)[0]).toBe(6);
  replay[Symbol.dispose]();
  for (const { buffer } of [x, all]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(before);
});

test.each([
  ["a number that does not move evenly", (place: number) => [place ** 2, 1] as const],
  ["other workgroups at another place", (place: number) => [0, 1 + (place === PLACES - 1 ? 1 : 0)] as const],
])("%s cannot be replayed, and nothing is held", (_, rowsOf) => {
  const all = matrix(PLACES ** 2);
  const before = gpu.memory.liveBytes;
  const record = (run: Run, place: number) => {
    const [first, count] = rowsOf(place);
    const y = run.allocate("y", [count, 4]);
    recordElementwise(run, ELEMENTWISE.copy, sliceRows(all, first, count), undefined, y);
  };
  expect(() => new Replay(gpu, PLACES, record)).toThrow("cannot be replayed");
  expect(gpu.memory.liveBytes).toBe(before);
  gpu.memory.release(all.buffer);
});
