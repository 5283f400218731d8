import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { read, uploaded } from "../../compute/device/transfer.ts";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../../files/safetensors/numbers.ts";
import { readStatistics } from "./merge-tensor.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const DTYPES = ["F32", "BF16", "F16"] as const;
/** One element, odd rows, whole vectors, several workgroups. */
const SHAPES = [
  [1, 1],
  [7, 37],
  [192, 256],
  [70, 1001],
] as const;

interface Case {
  readonly rows: number;
  readonly cols: number;
  readonly source: KernelDtype | undefined;
  readonly target: KernelDtype;
  readonly roundDelta?: boolean;
  /** Becomes W's first element. */
  readonly first?: number;
}

/** The numbers that a dtype makes of these. */
function rounded(values: Float32Array<ArrayBuffer>, dtype: KernelDtype): Float32Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * dtypeBytes(dtype));
  roundFromF32(values, dtype, bytes);
  const found = new Float32Array(values.length);
  widenToF32(bytes, dtype, found);
  return found;
}

/** Runs the kernel on made-up rows; what pads them, before and after, is NaN. */
async function finished({ rows, cols, source, target, roundDelta = false, first }: Case) {
  const pitch = Math.ceil(cols / 4) * 4;
  const number = (seed: number) =>
    Float32Array.from({ length: rows * cols }, (_, at) => Math.sin(at * 12.9898 + seed) * 10 ** ((at % 7) - 5));
  const [w, delta] = [rounded(number(1), source ?? "F32"), number(2)];
  if (first !== undefined) w[0] = first;
  const spread = (values: Float32Array<ArrayBuffer>, dtype: KernelDtype) => {
    const padded = new Float32Array(rows * pitch).fill(NaN);
    for (let row = 0; row < rows; row++) padded.set(values.subarray(row * cols, (row + 1) * cols), row * pitch);
    const bytes = new Uint8Array(padded.length * dtypeBytes(dtype));
    roundFromF32(padded, dtype, bytes);
    return uploaded(gpu, dtype, bytes);
  };
  const weight = source === undefined ? undefined : { buffer: spread(w, source), dtype: source };
  const [sum, to] = [spread(delta, "F32"), spread(number(3), target)];
  const finish = {
    rows,
    cols,
    pitch,
    ...(weight && { weight }),
    delta: sum,
    target: { buffer: to, dtype: target },
    roundDelta,
  };
  const statistics = gpu.memory.allocate("statistics", gpu.scratchBytes("finish", finish).statistics);
  using run = new Run(gpu);
  run.compute("finish", { ...finish, statistics });
  await run.submit();
  const all = new Float32Array(rows * pitch);
  widenToF32(await read(gpu, to), target, all);
  const found = readStatistics(await read(gpu, statistics));
  for (const buffer of [sum, to, statistics, ...(weight ? [weight.buffer] : [])]) gpu.memory.release(buffer);
  const old = source === undefined ? new Float32Array(w.length) : w;
  const change = roundDelta ? rounded(delta, target) : delta;
  const want = rounded(
    old.map((value, at) => value + (change[at] ?? NaN)),
    target,
  );
  const before = rounded(old, target);
  return { all, pitch, found, want, change, changed: want.filter((value, at) => value !== before[at]).length };
}

const CASES = SHAPES.flatMap(([rows, cols]) =>
  DTYPES.flatMap((source) => DTYPES.map((target) => ({ rows, cols, source, target }))),
);

test.each(CASES)("W + ΔW is rounded once: $rows by $cols, $source to $target", async (given) => {
  const { rows, cols } = given;
  const { all, pitch, found, want, change, changed } = await finished(given);
  for (let row = 0; row < rows; row++) {
    expect(all.subarray(row * pitch, row * pitch + cols)).toEqual(want.subarray(row * cols, (row + 1) * cols));
    expect(all.subarray(row * pitch + cols, (row + 1) * pitch).every((value) => value === 0)).toBe(true);
  }
  const sizes = change.map(Math.abs);
  expect(found.maxAbsDelta).toBe(Math.max(...sizes));
  const squares = sizes.reduce((sum, size) => sum + size * size, 0);
  expect(found.sumOfSquares / squares).toBeCloseTo(1, 5);
  expect([found.changed, found.notFinite]).toEqual([changed, 0]);
});

test.each(DTYPES)("ΔW alone, and ΔW rounded first, in %s", async (target) => {
  for (const roundDelta of [false, true]) {
    for (const source of [undefined, "F32"] as const) {
      const { all, pitch, want, found, change } = await finished({ rows: 5, cols: 12, source, target, roundDelta });
      expect([pitch, all]).toEqual([12, want]);
      expect(found.maxAbsDelta).toBe(Math.max(...change.map(Math.abs)));
    }
  }
});

test.each([NaN, Infinity, -Infinity])("a weight of %d is counted", async (first) => {
  for (const target of DTYPES) {
    const { found } = await finished({ rows: 3, cols: 9, source: "F32", target, first });
    expect(found.notFinite).toBe(1);
  }
});

test("a sum that the target cannot hold is counted", async () => {
  const { found } = await finished({ rows: 3, cols: 9, source: "F32", target: "F16", first: 70_000 });
  expect(found.notFinite).toBe(1);
});
