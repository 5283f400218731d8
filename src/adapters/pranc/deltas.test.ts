import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { error } from "../testing/bases.ts";
import { thetaSum } from "../testing/theta.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { prancDeltas, type PrancLayer } from "./plan.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SEED = -987_654_321n;
const SCALE = 0.37;

interface Case {
  readonly out: number;
  readonly in: number;
  readonly bases: number;
  readonly offset?: number;
  readonly conv1d?: boolean;
  /** Rows of a block of the stored weight; all by default. */
  readonly rows?: number;
  /** What the target holds, and is added to. */
  readonly before?: number;
}

const wave = (count: number) => Float32Array.from({ length: count }, (_, at) => Math.sin(1 + 1.7 * at));

/** ΔW of one module as the GPU forms it, (out, in) without gaps; the program's reference; and what it should be. */
async function deltaOf({ out, in: input, bases, offset = 0, conv1d = false, rows, before }: Case) {
  const stored = { shape: [], tensor: "", source: "", dtype: "F32", module: "m" } as const;
  const layer: PrancLayer = { ...stored, out, in: input, conv1d, offset, scale: SCALE };
  const alpha = wave(bases);
  const [height, width] = conv1d ? [input, out] : [out, input];
  using run = new Run(gpu);
  const live = gpu.memory.liveBytes;
  const source = prancDeltas([layer], alpha, philoxKey(SEED));
  const owner = new DisposableStack();
  const deltas = await source.upload(ownedBy(owner, gpu));
  const one = await deltas.layer(0, -2, UNREAD);
  const pitch = padded4(width) + 4;
  const target = gpu.memory.allocate("target", height * pitch * 4);
  gpu.write(target, new Float32Array(height * pitch).fill(before ?? NaN));
  for (let firstRow = 0; firstRow < height; firstRow += rows ?? height) {
    const count = Math.min(rows ?? height, height - firstRow);
    const block = { firstRow, rows: count, target, at: firstRow * pitch, pitch, accumulate: before !== undefined };
    one.form(run, { ...block, ...unreadRows(target, width) });
  }
  await run.submit();
  const all = new Float32Array((await read(gpu, target)).buffer);
  one.release();
  owner.dispose();
  gpu.memory.release(target);
  expect(gpu.memory.liveBytes).toBe(live);
  for (let row = 0; row < height; row++) {
    const padding = all.subarray(row * pitch + width, (row + 1) * pitch);
    const vector = padded4(width) - width;
    // Whole vectors end in zeros; beyond them nothing is written.
    expect([...padding].map((value) => value || 0)).toEqual(
      [...padding].map((_, at) => (at < vector && before === undefined ? 0 : (before ?? 0))),
    );
    if (before === undefined) expect(padding.subarray(vector).every(Number.isNaN)).toBe(true);
  }
  const ours = Float64Array.from({ length: out * input }, (_, at) => {
    const [row, col] = [Math.floor(at / input), at % input];
    return itemAt(all, conv1d ? col * pitch + row : row * pitch + col);
  });
  const every = (count: number) => Array.from({ length: count }, (_, i) => i);
  const reference = await source.reference(0, -2, { rows: every(out), cols: every(input) }, UNREAD);
  const want = thetaSum({ seed: SEED, out, in: input, offset }, alpha).map((value) => -2 * SCALE * value);
  return { ours: ours.map((value) => value - (before ?? 0)), reference, want };
}

/** One basis and more than a partial sum; rows that end within a block; one row, one column; positions above 2^32. */
const CASES: readonly Case[] = [
  { out: 3, in: 5, bases: 1 },
  { out: 1, in: 40, bases: 4 },
  { out: 33, in: 1, bases: 3 },
  { out: 37, in: 75, bases: 7, offset: 4096 },
  { out: 12, in: 21, bases: 600 },
  { out: 80, in: 64, bases: 5, offset: 2 ** 32 - 1024 },
  { out: 19, in: 22, bases: 2, offset: 2 ** 40 + 32 },
];
const VARIED = CASES.flatMap((one): Case[] => [one, { ...one, conv1d: true }, { ...one, before: 0.5 }]);

test.each(VARIED.map((one) => [JSON.stringify(one), one] as const))("ΔW = scale · Σ α_i θ_i: %s", async (_, one) => {
  const { ours, reference, want } = await deltaOf(one);
  expect(error(reference, want)).toBeLessThan(1e-12);
  expect(error(ours, want)).toBeLessThan(one.before === undefined ? 2e-6 : 4e-6);
});

test("blocks of rows are those of the whole", async () => {
  for (const conv1d of [false, true]) {
    const one = { out: 50, in: 47, bases: 6, offset: 2 ** 32 - 16, conv1d };
    const whole = await deltaOf(one);
    expect((await deltaOf({ ...one, rows: 11 })).ours).toEqual(whole.ours);
  }
});
