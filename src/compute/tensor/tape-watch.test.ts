// What a tape watches, keeps and refuses, step by step; tape.test.ts has the gradients of whole graphs.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { read } from "../device/transfer.ts";
import { OPS } from "./ops/index.ts";
import type { Recorder } from "./recorder.ts";
import { Run } from "./run.ts";
import { Tape } from "./tape.ts";
import { sliceCols, sliceRows, type Tensor } from "./tensor.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

test("a view of a larger matrix is watched by itself, and only what backward reads is kept", async () => {
  using run = new Run(gpu);
  const tape = new Tape(run);
  const matrix = run.upload("matrix", [4, 8], new Float32Array(32).fill(1));
  const gradient = run.keep(run.upload("gradient", [2, 4], new Float32Array(8).fill(0.5)));
  tape.watch(sliceCols(sliceRows(matrix, 1, 2), 4, 4), gradient);
  expect(tape.wants(sliceCols(matrix, 4, 4))).toBe(true);
  expect(tape.wants(sliceCols(matrix, 0, 4))).toBe(false);
  const { y: twice } = tape.apply(OPS.add, { a: matrix, b: matrix }, {});
  const { y: capped } = tape.apply(OPS.softcap, { x: twice }, { cap: 1e6 });
  tape.release(twice);
  // The soft cap's derivative reads its result, so `twice` is free at once, and `capped` is not.
  const { y } = tape.apply(OPS.add, { a: capped, b: capped }, {});
  expect(y.buffer).toBe(twice.buffer);
  tape.release(capped);
  const other = tape.allocate("other", [4, 8]);
  expect(other.buffer).not.toBe(capped.buffer);
  tape.backward(y, matrix);
  await run.submit();
  expect([...new Float32Array((await read(gpu, gradient.buffer)).buffer)]).toEqual(Array(8).fill(4.5));
  gpu.memory.release(gradient.buffer);
});

test("matrices with rows of different lengths may lie in one buffer", async () => {
  using run = new Run(gpu);
  const tape = new Tape(run);
  const values = run.upload("values", [1, 128], new Float32Array(128).fill(1));
  const gradients = run.keep(run.upload("gradients", [1, 128], new Float32Array(128)));
  const [wide, narrow] = [
    { shape: [2, 12], offset: 0, pitch: 12 },
    { shape: [3, 4], offset: 64, pitch: 4 },
  ] as const;
  for (const [place, times] of [
    [wide, 1],
    [narrow, 2],
  ] as const) {
    tape.watch({ ...values, ...place }, { ...gradients, ...place }, place.offset);
    for (let time = 0; time < times; time++) {
      const { y } = tape.apply(OPS.add, { a: { ...values, ...place }, b: { ...values, ...place } }, {});
      tape.backward(y, { ...values, ...place });
    }
  }
  await run.submit();
  const found = [...new Float32Array((await read(gpu, gradients.buffer)).buffer)];
  expect(found).toEqual(Array.from({ length: 128 }, (_, at) => (at < 24 ? 2 : at >= 64 && at < 76 ? 4 : 0)));
  gpu.memory.release(gradients.buffer);
});

test("a node with parameters of its own is differentiated though nothing is watched, in a segment as well", () => {
  using run = new Run(gpu);
  const tape = new Tape(run);
  const x = run.upload("x", [2, 4], new Float32Array(8).fill(1));
  for (const segmented of [false, true]) {
    let passes = 0;
    const trained = (recorder: Recorder): Tensor => {
      const { y } = OPS.softcap.shape({ x: x.shape }, { cap: 1 });
      const output = recorder.allocate("y", y.shape);
      OPS.softcap.forward(recorder.run, { x }, { cap: 1 }, { y: output });
      recorder.record({
        name: "trained",
        trains: true,
        inputs: [x],
        outputs: [output],
        saves: () => [x],
        backward(_, [gradient], [byX]) {
          expect(gradient?.shape).toEqual(x.shape);
          expect(byX).toBeUndefined();
          passes++;
        },
      });
      return output;
    };
    const [y] = segmented ? tape.segment([x], (inner) => [trained(inner)]) : [trained(tape)];
    tape.backward(y, x);
    expect(passes).toBe(1);
  }
});

test("what cannot be differentiated is refused", () => {
  using run = new Run(gpu);
  const tape = new Tape(run);
  const x = run.upload("x", [2, 4], new Float32Array(8));
  const { y: constant } = tape.apply(OPS.softcap, { x }, { cap: 1 });
  expect(() => tape.backward(constant, x)).toThrow("nothing that is watched leads to it");
  tape.watch(x, run.allocate("gradient", [2, 4]));
  const { values } = tape.apply(OPS.topK, { x }, { k: 2 });
  expect(tape.wants(values)).toBe(false);
  const { y } = tape.apply(OPS.softcap, { x }, { cap: 1 });
  tape.release(y);
  expect(() => tape.release(y)).toThrow("released twice");
  expect(() => tape.watch(y, x)).toThrow("watched too late");
});
