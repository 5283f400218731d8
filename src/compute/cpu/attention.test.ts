import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { read } from "../device/transfer.ts";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import { sliceRows, type Tensor, tensorBytes } from "../tensor/tensor.ts";
import { random } from "../tensor/cases/case.ts";
import { place, take } from "../tensor/cases/placed.ts";
import { CpuDevice } from "./cpu.ts";

/** Threads decide about pieces: with many, keys are taken in parts that others compute. */
const THREADS = [1, 2, 5] as const;
const HEAD_SIZE = 36;
const TOKENS = 90;
/** Positions before the pass; with those of the pass four chunks of keys. */
const PAST = 700;
const POSITIONS = PAST + TOKENS + 40;

const devices: CpuDevice[] = [];
beforeAll(async () => {
  for (const threads of THREADS) devices.push(await CpuDevice.open({ threads }));
});
afterAll(() => {
  for (const device of devices) device.close();
});

const KV_HEADS = 2;
const SHAPES = {
  "as many kv heads as heads": { heads: 2, window: Infinity, softcap: undefined },
  "three heads a kv head, window, soft cap": { heads: 6, window: 300, softcap: 1.5 },
  "eight heads a kv head": { heads: 16, window: Infinity, softcap: undefined },
} as const;

interface Sight {
  readonly first: number;
  readonly last: number;
}

/** Bytes of y and of the sums. */
async function attend(
  device: CpuDevice,
  tensors: { readonly q: Tensor; readonly keys: Tensor; readonly values: Tensor },
  shape: (typeof SHAPES)[keyof typeof SHAPES],
  seen: readonly Sight[],
): Promise<Uint8Array[]> {
  using run = new Run(device);
  const ids = (name: "first" | "last") =>
    run.upload(
      name,
      [1, seen.length],
      Uint32Array.from(seen, (sight) => sight[name]),
    );
  const attributes = { headSize: HEAD_SIZE, firstPosition: 0, scale: 0.2, ...shape, lse: true };
  const { y, lse } = run.apply(
    OPS.attention,
    { ...tensors, first: ids("first"), last: ids("last"), sinks: undefined },
    attributes,
  );
  if (lse === undefined) throw new Error("no sums");
  run.keep(y);
  run.keep(lse);
  await run.submit();
  const bytes = [];
  for (const { buffer, shape, dtype } of [y, lse]) {
    bytes.push((await read(device, buffer)).subarray(0, tensorBytes(shape, dtype)));
    device.memory.release(buffer);
  }
  return bytes;
}

/** Parts of those bytes that belong to rows of the pass. */
function rowOf(bytes: readonly Uint8Array[], row: number, rows: number): Uint8Array[] {
  return bytes.map((all) => all.subarray((row * all.length) / rows, ((row + 1) * all.length) / rows));
}

describe.each(Object.entries(SHAPES))("%s", (_, shape) => {
  const operands = {
    q: random(TOKENS, shape.heads * HEAD_SIZE, "F32", 3),
    keys: random(POSITIONS, KV_HEADS * HEAD_SIZE),
    values: random(POSITIONS, KV_HEADS * HEAD_SIZE),
  };
  const causal = Array.from({ length: TOKENS }, (_, row) => ({ first: 0, last: PAST + row }));
  const placed = (device: CpuDevice) => ({
    q: place(device, operands.q),
    keys: place(device, operands.keys),
    values: place(device, operands.values),
  });

  test("a token's result is the same in a pass of one token and of many, with any number of threads", async () => {
    const [one] = devices;
    if (one === undefined) throw new Error("no device");
    const wanted = await attend(one, placed(one), shape, causal);
    for (const device of devices) {
      const tensors = placed(device);
      expect(await attend(device, tensors, shape, causal)).toEqual(wanted);
      for (const row of [0, 41, TOKENS - 1]) {
        const alone = { ...tensors, q: sliceRows(tensors.q, row, 1) };
        const found = await attend(device, alone, shape, causal.slice(row, row + 1));
        expect(found).toEqual(rowOf(wanted, row, TOKENS));
      }
      const some = { ...tensors, q: sliceRows(tensors.q, 10, 2) };
      expect(rowOf(await attend(device, some, shape, causal.slice(10, 12)), 1, 2)).toEqual(rowOf(wanted, 11, TOKENS));
    }
  });

  test("a text gives the same bits wherever in the cache it stands, and nothing of what it does not see", async () => {
    const length = 60;
    const lengths = Array.from({ length }, (_, row) => row);
    for (const device of devices) {
      const tensors = placed(device);
      const q = sliceRows(tensors.q, 0, length);
      const first = { q, keys: sliceRows(tensors.keys, 300, length), values: sliceRows(tensors.values, 300, length) };
      const wanted = await attend(
        device,
        first,
        shape,
        lengths.map((row) => ({ first: 0, last: row })),
      );
      // Before and behind the text stands no number.
      for (const { buffer } of [tensors.keys, tensors.values]) {
        const rowBytes = KV_HEADS * HEAD_SIZE * 4;
        const nothing = new Float32Array(POSITIONS * KV_HEADS * HEAD_SIZE).fill(NaN);
        device.write(buffer, nothing.subarray(0, (300 * rowBytes) / 4));
        device.write(buffer, nothing.subarray(((300 + length) * rowBytes) / 4), (300 + length) * rowBytes);
      }
      const found = await attend(
        device,
        { ...tensors, q },
        shape,
        lengths.map((row) => ({ first: 300, last: 300 + row })),
      );
      expect(found).toEqual(wanted);
    }
  });
});

test.each([
  ["of one chunk", 0, Infinity, 40],
  // A thread goes on from a chunk that it has computed token by token.
  ["in chunks that threads share out", 1700, 1500, 240],
])(
  "a value that is no number reaches the tokens that see it and no others, with any number of threads: keys %s",
  async (_, past, window, key) => {
    const shape = { ...SHAPES["as many kv heads as heads"], window };
    const seen = Array.from({ length: TOKENS }, (_, row) => ({ first: 0, last: past + row }));
    const operands = [TOKENS, past + TOKENS, past + TOKENS].map((rows) => random(rows, KV_HEADS * HEAD_SIZE));
    for (const value of [NaN, Infinity]) {
      for (const device of devices) {
        const [q, keys, values] = operands.map((operand) => place(device, operand));
        if (q === undefined || keys === undefined || values === undefined) throw new Error("three operands");
        const tensors = { q, keys, values };
        const [before = new Uint8Array()] = await attend(device, tensors, shape, seen);
        // The fifth element of the first kv head's value.
        device.write(values.buffer, Float32Array.of(value), (key * values.pitch + 4) * 4);
        const [y = new Uint8Array()] = await attend(device, tensors, shape, seen);
        const [found, same] = [new Float32Array(y.slice().buffer), new Float32Array(before.slice().buffer)];
        for (const [row, { last }] of seen.entries()) {
          if (key > last || key <= last - window) continue;
          const broken = row * KV_HEADS * HEAD_SIZE + 4;
          expect(Number.isFinite(found[broken])).toBe(false);
          found[broken] = same[broken] ?? NaN;
        }
        expect(found).toEqual(same);
      }
    }
  },
);

test("where all scores are infinitely small, the result is no number, whatever stands beside them in a vector", async () => {
  const [device] = devices;
  if (device === undefined) throw new Error("no device");
  for (const keys of [1, 2, 4, 7]) {
    using run = new Run(device);
    const upload = (rows: number, value: number) => run.upload("x", [rows, 8], new Float32Array(rows * 8).fill(value));
    const tensors = { q: upload(1, 1e30), keys: upload(keys, -1e30), values: upload(keys, 1) };
    const attributes = { headSize: 8, firstPosition: keys - 1, scale: 1, window: Infinity, softcap: undefined };
    const { y } = run.apply(
      OPS.attention,
      { ...tensors, first: undefined, last: undefined, sinks: undefined },
      attributes,
    );
    run.keep(y);
    await run.submit();
    const { values } = await take(device, y);
    device.memory.release(y.buffer);
    expect(values.every(Number.isNaN)).toBe(true);
  }
});
