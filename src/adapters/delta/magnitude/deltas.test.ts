import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import type { KernelDtype } from "../../../compute/device/dtype.ts";
import { BLOCK_ROWS, padded4 } from "../../../compute/device/families/delta.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read, uploaded } from "../../../compute/device/transfer.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { itemAt } from "../../../files/item-at.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { roundFromF64, widenToF64 } from "../../../files/safetensors/numbers.ts";
import type { StoredWeight } from "../../method/plan.ts";
import { error, numbers } from "../../testing/bases.ts";
import { lowRankDeltas, type LowRankLayer } from "../low-rank/product.ts";
import { magnitudeDeltas, type MagnitudeLayer } from "./deltas.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

interface Case {
  readonly out: number;
  readonly in: number;
  readonly conv1d?: boolean;
  readonly dtype?: KernelDtype;
  /** Something is there already that ΔW is added to. */
  readonly accumulate?: boolean;
  /** ΔW is added to something else than the base's own W. */
  readonly onto?: boolean;
}

const RANK = 3;
const SCALE = 0.7;
const FACTOR = -1.5;

/** Numbers as a dtype holds them, row by row, and as f64. */
function stored(count: number, dtype: KernelDtype, size: number) {
  const bytes = new Uint8Array(count * dtypeBytes(dtype));
  roundFromF64(Float64Array.from(numbers(count, size)), dtype, bytes);
  const values = new Float64Array(count);
  widenToF64(bytes, dtype, values);
  return { bytes, values };
}

/** A weight (rows, cols), stored. */
function weightOf(rows: number, cols: number, dtype: KernelDtype, bytes: Uint8Array<ArrayBuffer>): StoredWeight {
  const row = cols * dtypeBytes(dtype);
  const part = (first: number, count: number) => bytes.slice(first * row, (first + count) * row);
  return { rows, cols, dtype, read: async (first, count) => part(first, count) };
}

/** W' − onto of everything, by the definition: rows of (out, in). */
function wanted(
  { out, in: input }: Case,
  m: ArrayLike<number>,
  { w, onto, held, delta }: Record<"w" | "onto" | "held" | "delta", (row: number, col: number) => number>,
): Float64Array {
  const result = new Float64Array(out * input);
  for (let row = 0; row < out; row++) {
    let squares = 0;
    for (let col = 0; col < input; col++) squares += (w(row, col) + delta(row, col)) ** 2;
    const c = squares === 0 ? 0 : itemAt(m, row) / Math.sqrt(squares);
    for (let col = 0; col < input; col++) {
      const before = onto(row, col) + held(row, col);
      result[row * input + col] = c * (before + delta(row, col)) - onto(row, col);
    }
  }
  return result;
}

async function check(trial: Case): Promise<void> {
  const { out, in: input, conv1d = false, dtype = "F32", accumulate = false } = trial;
  const [rows, cols] = conv1d ? [input, out] : [out, input];
  const [a, b] = [numbers(RANK * input), numbers(out * RANK, 0.2)];
  const m = numbers(out, 4).map((value) => 1 + Math.abs(value));
  const w = stored(rows * cols, dtype, 0.3);
  // A row of W + ΔW that is zero has no direction.
  const zero = Math.min(2, out - 1);
  b.fill(0, zero * RANK, (zero + 1) * RANK);
  const at = (row: number, col: number) => (conv1d ? col * cols + row : row * cols + col);
  const size = dtypeBytes(dtype);
  for (let col = 0; col < input; col++) {
    w.values[at(zero, col)] = 0;
    w.bytes.fill(0, at(zero, col) * size, (at(zero, col) + 1) * size);
  }
  const onto = trial.onto === true ? stored(rows * cols, dtype, 0.3) : w;
  const held = accumulate ? numbers(rows * cols, 0.1) : new Float32Array(rows * cols);
  const factor = (name: string, values: Float32Array<ArrayBuffer>, width: number) => ({
    name,
    rows: values.length / width,
    cols: width,
    read: async (first: number, count: number) => values.slice(first * width, (first + count) * width),
  });
  const low: LowRankLayer = {
    out,
    in: input,
    conv1d,
    rank: RANK,
    scale: SCALE,
    a: factor("A", a, input),
    b: factor("B", b, RANK),
  };
  const layer: MagnitudeLayer = { out, conv1d, magnitude: async () => m };
  const weight = weightOf(rows, cols, dtype, w.bytes);

  const delta = (row: number, col: number) => {
    let sum = 0;
    for (let k = 0; k < RANK; k++) sum += itemAt(b, row * RANK + k) * itemAt(a, k * input + col);
    return FACTOR * SCALE * sum;
  };
  const of = (values: ArrayLike<number>) => (row: number, col: number) => itemAt(values, at(row, col));
  const want = wanted(trial, m, { w: of(w.values), onto: of(onto.values), held: of(held), delta });

  // The yardstick of `--verify`.
  if (!accumulate) {
    const every = (count: number) => Array.from({ length: count }, (_, i) => i);
    const sample = { rows: every(out), cols: every(input) };
    const whole = Float64Array.from({ length: out * input }, (_, i) =>
      of(onto.values)(Math.floor(i / input), i % input),
    );
    const source = magnitudeDeltas(lowRankDeltas([low]), [layer]);
    expect(error(await source.reference(0, FACTOR, sample, { ...weight, onto: whole }), want)).toBeLessThan(1e-12);
  }

  const before = gpu.memory.liveBytes;
  const owner = new DisposableStack();
  const on = ownedBy(owner, gpu);
  const deltas = await magnitudeDeltas(lowRankDeltas([low]), [layer]).upload(on);
  const onGpu = await deltas.layer(0, FACTOR, weight);
  const pitch = padded4(cols);
  const found = new Float64Array(out * input);
  for (let firstRow = 0; firstRow < rows; firstRow += BLOCK_ROWS) {
    const count = Math.min(BLOCK_ROWS, rows - firstRow);
    const part = (bytes: Uint8Array<ArrayBuffer>, each: number) =>
      repitched(
        bytes.slice(firstRow * cols * each, (firstRow + count) * cols * each),
        count,
        cols * each,
        pitch * each,
      );
    const buffers: DeviceBuffer[] = [];
    const keep = (buffer: DeviceBuffer) => {
      buffers.push(buffer);
      return buffer;
    };
    const place = (label: string, bytes: Uint8Array<ArrayBuffer>) => ({
      buffer: keep(uploaded(gpu, label, part(bytes, size))),
      dtype,
    });
    // What nobody has written is full of NaN.
    const stale = (label: string) => {
      const buffer = keep(gpu.memory.allocate(label, count * pitch * 4));
      gpu.write(buffer, new Float32Array(count * pitch).fill(NaN));
      return buffer;
    };
    const target = accumulate ? keep(uploaded(gpu, "target", part(new Uint8Array(held.buffer), 4))) : stale("target");
    const block = { firstRow, rows: count, cols, pitch, target, accumulate, scratch: () => stale("scratch") };
    using run = new Run(gpu);
    onGpu.form(run, { ...block, weight: place("W", w.bytes), onto: place("onto", onto.bytes) });
    await run.submit();
    const all = new Float32Array((await read(gpu, target)).buffer);
    for (let row = 0; row < count; row++) {
      for (let col = 0; col < cols; col++) {
        const [o, i] = conv1d ? [col, firstRow + row] : [firstRow + row, col];
        found[o * input + i] = itemAt(all, row * pitch + col);
      }
    }
    for (const buffer of buffers) gpu.memory.release(buffer);
  }
  onGpu.release();
  owner.dispose();
  expect(error(found, want)).toBeLessThan(2e-6);
  expect(gpu.memory.liveBytes).toBe(before);
}

/** Odd sizes, one row and one column, several blocks of rows, terms beyond one partial sum. */
const SHAPES = [
  { out: 37, in: 75 },
  { out: 260, in: 41 },
  { out: 50, in: 2090 },
  { out: 3, in: 1 },
  { out: 1, in: 9 },
];
const CASES: readonly Case[] = SHAPES.flatMap((shape, index): Case[] => {
  const dtype = (["F32", "BF16", "F16"] as const)[index % 3] ?? "F32";
  return [
    { ...shape, dtype },
    { ...shape, dtype, conv1d: true },
    { ...shape, accumulate: true },
    { ...shape, dtype, conv1d: true, onto: true, accumulate: true },
    { ...shape, dtype: "BF16", onto: true },
  ];
});

test.each(CASES.map((one) => [JSON.stringify(one), one] as const))("c · (onto + ΔW) − onto: %s", (_, one) =>
  check(one),
);

test("a magnitude that is not finite is told, and nothing stays on the GPU", async () => {
  const before = gpu.memory.liveBytes;
  const layer = { out: 4, conv1d: false, magnitude: () => Promise.reject(new Error("NaN")) };
  const deltas = await magnitudeDeltas(lowRankDeltas([]), [layer]).upload(gpu);
  const weight = weightOf(4, 4, "F32", new Uint8Array(64));
  await expect(deltas.layer(0, 1, weight)).rejects.toThrow("NaN");
  await expect(deltas.layer(1, 1, weight)).rejects.toThrow("layer 1 of 1");
  expect(gpu.memory.liveBytes).toBe(before);
});
