import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { philoxKey } from "../random/philox.ts";
import { Run } from "../tensor/run.ts";
import { type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../tensor/tensor.ts";
import type { Gpu } from "./gpu.ts";
import { openTestGpu } from "../device/testing/open.ts";
import { MOST_WORK } from "./work.ts";

let real: Gpu;
beforeAll(async () => {
  real = await openTestGpu("guaranteed");
});
afterAll(() => real.close());

/** What a device that computes nothing is given: the workgroups of each dispatch, by submission. */
async function submitted(
  record: (run: Run, place: (rows: number, cols: number, dtype?: TensorDtype) => Tensor) => void,
) {
  const gpu = real.counting();
  const pass = gpu.device.createCommandEncoder().beginComputePass();
  const submissions: number[][] = [[]];
  const dispatch = spyOn(pass, "dispatchWorkgroups").mockImplementation((x, y = 1, z = 1) => {
    submissions.at(-1)?.push(x * y * z);
  });
  const submit = spyOn(gpu.device.queue, "submit").mockImplementation(() => void submissions.push([]));
  using run = new Run(gpu);
  record(run, (rows, cols, dtype = "F32") => {
    const shape = [rows, cols] as const;
    return tensorIn(gpu.memory.allocate("operand", tensorBytes(shape, dtype)), shape, dtype);
  });
  await run.submit();
  for (const spy of [dispatch, submit]) spy.mockRestore();
  return submissions.filter((dispatches) => dispatches.length > 0);
}

/** Operations of a workgroup of a product over so many terms. */
const ofTile = (terms: number): number => 2 * 64 * 64 * terms;

test("a product of an 8B model's size is taken in rows, and submitted in parts of bounded work", async () => {
  const [tokens, inner, out] = [2048, 4096, 14_336];
  const submissions = await submitted((run, place) => {
    const [a, b, y] = [place(tokens, inner), place(out, inner, "Q4_0"), place(tokens, out)];
    for (let layer = 0; layer < 3; layer++) run.compute("gemm", { order: "NT", a, b, y });
  });
  const all = submissions.flat();
  expect(all.reduce((sum, groups) => sum + groups, 0)).toBe((3 * tokens * out) / 64 / 64);
  for (const dispatches of submissions) {
    const work = dispatches.reduce((sum, groups) => sum + groups * ofTile(inner), 0);
    expect(work).toBeLessThanOrEqual(MOST_WORK);
  }
});

test("small products share submissions as they did: 32, then 64, then 128", async () => {
  const submissions = await submitted((run, place) => {
    const [a, b, y] = [place(8, 64), place(64, 64), place(8, 64)];
    for (let layer = 0; layer < 150; layer++) run.compute("gemm", { order: "NT", a, b, y });
  });
  expect(submissions.map(({ length }) => length)).toEqual([32, 64, 54]);
});

test("attention over many keys takes tokens in parts, random networks rows", async () => {
  const heads = 32;
  const keysSeen = 32_768;
  const chunk = await submitted((run, place) => {
    const [q, y, cache] = [place(2048, heads * 128), place(2048, heads * 128), place(keysSeen, 1024, "F32")];
    const range = { first: undefined, last: undefined, lse: undefined, softcap: undefined, window: Infinity };
    const sizes = { headSize: 128, firstPosition: keysSeen - 2048, scale: 1 };
    run.compute("attention", { ...range, ...sizes, q, y, keys: cache, values: cache });
  });
  const pairs = chunk.flat().map((groups) => groups * 8);
  expect(pairs.reduce((sum, count) => sum + count, 0)).toBe(2048 * heads);
  for (const count of pairs) expect(4 * count * 128 * keysSeen).toBeLessThanOrEqual(MOST_WORK);
  const backwards = await submitted((run, place) => {
    const [tokens, width] = [4096, heads * 128];
    const [q, y, dy, into] = [1, 2, 3, 4].map(() => place(tokens, width));
    const [keys, values, lse] = [place(tokens, 1024), place(tokens, 1024), place(tokens, heads)];
    if (q === undefined || y === undefined || dy === undefined || into === undefined) return;
    const range = { first: undefined, last: undefined, dlse: undefined, softcap: undefined, window: Infinity };
    const sizes = { headSize: 128, firstPosition: 0, scale: 1 };
    const wanted = { q: into, keys: undefined, values: undefined };
    run.compute("attentionGradient", { ...range, ...sizes, q, keys, values, y, lse, dy, into: wanted });
  });
  // One dispatch for what the passes read of each token and head; the tiles of 32 pairs of a token and one of 4 heads, for 8 kv heads.
  const [statistics, ...passes] = backwards.flat();
  const tiles = (4096 * 4) / 32;
  expect([statistics, passes.reduce((sum, groups) => sum + groups, 0)]).toEqual([2048, tiles * 8]);
  const perTile = (8 * 4096 * heads * 128 * 4096) / tiles;
  for (const groups of passes) expect((groups / 8) * perTile).toBeLessThanOrEqual(MOST_WORK);
  const networks = await submitted((run, place) => {
    const target = place(4096, 4096);
    const block = { firstRow: 0, rows: 4096, target: target.buffer, pitch: target.pitch };
    const layer = { out: 4096, in: 4096, offset: 0, scale: 1 };
    run.compute("thetaDelta", { layer, key: philoxKey(0n), coefficients: place(1, 10_000), transposed: false, block });
  });
  // A workgroup has 64 blocks of 16 elements.
  for (const groups of networks.flat()) expect(12 * (groups - 1) * 1024 * 10_000).toBeLessThanOrEqual(MOST_WORK);
  expect(networks.flat().length).toBeGreaterThan(50);
});
