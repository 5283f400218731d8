import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../device/device.ts";
import { STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import { read } from "../../device/transfer.ts";
import type { Staging } from "../../device/staging.ts";
import { Run } from "../run.ts";
import { sliceCols, sliceRows, type Tensor } from "../tensor.ts";
import { random } from "../cases/case.ts";
import { place } from "../cases/placed.ts";
import { attention } from "./attention.ts";

/** On a software GPU with an empty shader cache. */
const COMPILE_TIMEOUT = 120_000;
const HEAD_SIZE = 12;
const ATTRIBUTES = { headSize: HEAD_SIZE, firstPosition: 0, scale: 0.3, window: Infinity, softcap: undefined };
/** Texts of 5, 61 and 44 tokens; more pairs than one block of the kernels has. */
const STARTS = [0, 5, 66];
const TOKENS = 110;

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Queries, keys and values side by side, and the gradient of the results. */
const QUERIES = random(TOKENS, 4 * HEAD_SIZE, "F32", 2);
const KEYS_AND_VALUES = random(TOKENS, 4 * HEAD_SIZE);
const GRADIENT = random(TOKENS, 4 * HEAD_SIZE, "F32", 2);

async function values(gpu: Device, tensor: Tensor): Promise<Float32Array> {
  const all = new Float32Array((await read(gpu, tensor.buffer)).buffer);
  gpu.memory.release(tensor.buffer);
  return all;
}

/** The operands on a device. */
function placed(gpu: Device): { q: Tensor; kv: Tensor; dy: Tensor } & Disposable {
  const [q, kv, dy] = [place(gpu, QUERIES), place(gpu, KEYS_AND_VALUES), place(gpu, GRADIENT)];
  const release = () => {
    for (const { buffer } of [q, kv, dy]) gpu.memory.release(buffer);
  };
  return { q, kv, dy, [Symbol.dispose]: release };
}

/** Results of attention, and its gradients, over some of the tokens. */
async function attend(
  [gpu, staging]: readonly [Device, Staging],
  first: number,
  count: number,
  { starts, bothWays = false, lse }: { starts?: readonly number[]; bothWays?: boolean; lse?: boolean } = {},
) {
  using operands = placed(gpu);
  const { q, kv, dy } = operands;
  using run = new Run(gpu, staging);
  const part = (tensor: Tensor) => sliceRows(tensor, first, count);
  const rows = (label: string, values: (token: number) => number) =>
    run.upload(
      label,
      [1, count],
      Uint32Array.from({ length: count }, (_, token) => values(token)),
    );
  const inputs = {
    q: part(q),
    keys: part(sliceCols(kv, 0, 2 * HEAD_SIZE)),
    values: part(sliceCols(kv, 2 * HEAD_SIZE, 2 * HEAD_SIZE)),
    first: starts && rows("first", (token) => starts.findLast((start) => start <= token) ?? 0),
    last: bothWays ? rows("last", (token) => (starts?.find((start) => start > token) ?? count) - 1) : undefined,
    sinks: undefined,
  };
  const attributes = { ...ATTRIBUTES, lse };
  const outputs = run.apply(attention, inputs, attributes);
  const [dq, dkv] = [q, kv].map(({ shape }) => run.keep(run.allocate("gradient", [count, shape[1]]))) as [
    Tensor,
    Tensor,
  ];
  // Gradients of keys and values go to views of one buffer, as those of joined projections do.
  const into = {
    q: dq,
    keys: sliceCols(dkv, 0, 2 * HEAD_SIZE),
    values: sliceCols(dkv, 2 * HEAD_SIZE, 2 * HEAD_SIZE),
  };
  if (typeof attention.derivative !== "object") throw new Error("no derivative");
  const gradients = { y: part(dy) };
  attention.derivative.backward(run, { inputs, outputs, gradients, into }, attributes);
  run.keep(outputs.y);
  await run.submit();
  return { y: await values(gpu, outputs.y), dq: await values(gpu, dq), dkv: await values(gpu, dkv) };
}

for (const name of STAGING_NAMES) {
  describe(name, () => {
    test.each([false, true])(
      "texts one after another are what each is alone; in both directions: %p",
      async (bothWays) => {
        const together = await attend(stagings.get(name), 0, TOKENS, { starts: STARTS, bothWays, lse: true });
        for (const [index, start] of STARTS.entries()) {
          const count = (STARTS[index + 1] ?? TOKENS) - start;
          const alone = await attend(stagings.get(name), start, count, { bothWays });
          for (const key of ["y", "dq", "dkv"] as const) {
            const width = 4 * HEAD_SIZE;
            const part = together[key].subarray(start * width, (start + count) * width);
            const apart = alone[key].map((value, at) => Math.abs(value - (part[at] ?? NaN)));
            expect(apart.length).toBe(count * width);
            expect(Math.max(...apart)).toBeLessThan(1e-5);
          }
        }
      },
      COMPILE_TIMEOUT,
    );

    test(
      "the same bytes again, and without the sums of the forward pass",
      async () => {
        const once = await attend(stagings.get(name), 0, TOKENS, { starts: STARTS, lse: true });
        expect(await attend(stagings.get(name), 0, TOKENS, { starts: STARTS, lse: true })).toEqual(once);
        expect(await attend(stagings.get(name), 0, TOKENS, { starts: STARTS })).toEqual(once);
      },
      COMPILE_TIMEOUT,
    );
  });
}

describe.each(STAGING_NAMES)("tokens of sequences that lie apart: %s", (name) => {
  /** Where each one's keys begin, and how many there are; the fifth has values that are no numbers. */
  const SEQUENCES = [[0, 1], [256, 200], [512, 33], [1024, 129], [1280, 50], [1536, 7], [1792, 256]] as const; // prettier-ignore
  const ROWS = 2048;

  /** Attention of one token of each of these, told that no two see the same keys, or not. */
  async function attendTo(all: readonly number[], apart = false): Promise<number[][]> {
    const noise = (at: number) => 2 * Math.sin(at * at * 1.7 + at);
    const isOf = (row: number, [start, count]: readonly [number, number]) => row >= start && row < start + count;
    const data = Float32Array.from({ length: ROWS * 4 * HEAD_SIZE }, (_, at) => {
      const row = Math.floor(at / (4 * HEAD_SIZE));
      const sequence = SEQUENCES.findIndex((one) => isOf(row, one));
      return sequence === -1 || sequence === 4 ? NaN : noise(at);
    });
    const [gpu, staging] = stagings.get(name);
    using run = new Run(gpu, staging);
    const table = run.upload("kv", [ROWS, 4 * HEAD_SIZE], data);
    const numbers = (of: (sequence: readonly [number, number]) => number) =>
      run.upload(
        "numbers",
        [1, all.length],
        Uint32Array.from(all, (one) => of(SEQUENCES[one] ?? [0, 1])),
      );
    const width = 4 * HEAD_SIZE;
    const queries = all.flatMap((one) => Array.from({ length: width }, (_, at) => noise(7777 + one * width + at)));
    const inputs = {
      q: run.upload("q", [all.length, 4 * HEAD_SIZE], Float32Array.from(queries)),
      keys: sliceCols(table, 0, 2 * HEAD_SIZE),
      values: sliceCols(table, 2 * HEAD_SIZE, 2 * HEAD_SIZE),
      first: numbers(([start]) => start),
      last: numbers(([start, count]) => start + count - 1),
      sinks: undefined,
    };
    const { y } = run.apply(attention, inputs, { ...ATTRIBUTES, apart, lse: false });
    run.keep(y);
    await run.submit();
    const found = await values(gpu, y);
    return all.map((_, row) => [...found.subarray(row * y.pitch, row * y.pitch + 4 * HEAD_SIZE)]);
  }

  test(
    "each has the bits that it has alone, whatever lies between them and in others",
    async () => {
      const together = await attendTo([6, 0, 4, 1, 2, 4, 3, 5]);
      for (const [at, sequence] of [6, 0, 4, 1, 2, 4, 3, 5].entries()) {
        const [alone = []] = await attendTo([sequence]);
        expect(together[at]).toEqual(alone);
        expect(alone.every(Number.isFinite)).toBe(sequence !== 4);
      }
      const apart = [6, 0, 4, 1, 2, 3, 5];
      const told = await attendTo(apart, true);
      for (const [at, sequence] of apart.entries()) expect([told[at]]).toEqual(await attendTo([sequence]));
    },
    COMPILE_TIMEOUT,
  );
});

test.each(STAGING_NAMES)("a loss of the sums alone, and a gradient of one operand alone, %s", async (name) => {
  const [gpu, staging] = stagings.get(name);
  using operands = placed(gpu);
  const { q, kv } = operands;
  using run = new Run(gpu, staging);
  const inputs = {
    q,
    keys: sliceCols(kv, 0, 2 * HEAD_SIZE),
    values: sliceCols(kv, 2 * HEAD_SIZE, 2 * HEAD_SIZE),
    first: undefined,
    last: undefined,
    sinks: undefined,
  };
  const attributes = { ...ATTRIBUTES, lse: true };
  const outputs = run.apply(attention, inputs, attributes);
  const ones = run.upload("ones", [TOKENS, 4], new Float32Array(TOKENS * 4).fill(1));
  const dKeys = run.keep(run.allocate("gradient", [TOKENS, 2 * HEAD_SIZE]));
  const dValues = run.keep(run.allocate("gradient", [TOKENS, 2 * HEAD_SIZE]));
  if (typeof attention.derivative !== "object") throw new Error("no derivative");
  const pass = { inputs, outputs, gradients: { lse: ones } };
  attention.derivative.backward(run, { ...pass, into: { keys: dKeys } }, attributes);
  attention.derivative.backward(run, { ...pass, into: { values: dValues } }, attributes);
  await run.submit();
  // The sums do not depend on the values; the first token's depend on the first key by scale · q.
  expect((await values(gpu, dValues)).every((value) => value === 0)).toBe(true);
  expect((await values(gpu, dKeys)).some((value) => value !== 0)).toBe(true);
});

test.each(STAGING_NAMES)("shapes that do not fit are named, %s", (name) => {
  const [gpu, staging] = stagings.get(name);
  using operands = placed(gpu);
  const { q, kv } = operands;
  using run = new Run(gpu, staging);
  const keys = sliceCols(kv, 0, 2 * HEAD_SIZE);
  const starts = run.upload("starts", [1, 3], new Uint32Array(3));
  expect(() =>
    run.apply(attention, { q, keys, values: keys, first: starts, last: undefined, sinks: undefined }, ATTRIBUTES),
  ).toThrow("first and last 1×tokens");
  const long = { ...ATTRIBUTES, firstPosition: 1 };
  expect(() =>
    run.apply(attention, { q, keys, values: keys, first: undefined, last: undefined, sinks: undefined }, long),
  ).toThrow("keys up to 111");
});

test.each(STAGING_NAMES)(
  "tiles of keys that workgroups of their own take are joined to the bits of one workgroup, %s",
  async (name) => {
    const [gpu, staging] = stagings.get(name);
    const [rows, seen] = [700, 680];
    const operands = [random(2, 6 * HEAD_SIZE, "F32", 3), random(rows, 2 * HEAD_SIZE), random(rows, 2 * HEAD_SIZE)];
    const [q, keys, more] = operands.map((operand) => place(gpu, operand)) as [Tensor, Tensor, Tensor];
    const results: Float32Array[] = [];
    // Where each token has a first key of its own, a GPU's workgroup takes all tiles; otherwise each is a workgroup's.
    for (const isOwn of [true, false]) {
      using run = new Run(gpu, staging);
      const first = isOwn ? run.upload("first", [1, 2], new Uint32Array(2)) : undefined;
      const inputs = { q, keys, values: more, first, last: undefined, sinks: undefined };
      const { y, lse } = run.apply(attention, inputs, { ...ATTRIBUTES, firstPosition: seen, lse: true });
      const kept = [y, lse].flatMap((tensor) => (tensor === undefined ? [] : [run.keep(tensor)]));
      await run.submit();
      for (const tensor of kept) results.push(await values(gpu, tensor));
    }
    const [one, sums, joined, joinedSums] = results;
    expect([joined, joinedSums]).toEqual([one, sums]);
    for (const { buffer } of [q, keys, more]) gpu.memory.release(buffer);
  },
  COMPILE_TIMEOUT,
);
