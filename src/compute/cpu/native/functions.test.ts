import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Machine } from "./machine.ts";
import { registers } from "./routines/arguments.ts";
import { exp, log, tanh } from "./routines/functions.ts";
import { digest, noise } from "./testing/numbers.ts";
import { GuardedHeap } from "./testing/guarded.ts";
import { routine, type Writer, WRITERS } from "./testing/routine.ts";

const COUNT = 2 ** 16;

/** A function of every number of a list, by code written for it. */
function values(code: Writer, write: (m: Machine) => void, given: Float32Array): Float32Array {
  using heap = new GuardedHeap(2 ** 21);
  const run = routine(code, heap, (m) => {
    const { at, count } = registers(m, { at: "address", count: "number" } as const);
    m.steps(count, m.lanes, () => {
      m.load(0, { word: at });
      write(m);
      m.store(0, { word: at });
      m.add(at, { bytes: m.lanes * 4 });
    });
  });
  const place = heap.part(given.length * 4, "end");
  heap.floats.set(given, place / 4);
  run(place, given.length);
  return heap.floats.slice(place / 4, place / 4 + given.length);
}

function ofBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] ?? NaN;
}

const FUNCTIONS = {
  exp: {
    write: (m: Machine) => exp(m, 0, [1, 2, 3]),
    given: (at: number) => noise(at, 1) * 87,
    wanted: Math.exp,
    specials: [
      [-Infinity, 0],
      [-3e38, 0],
      [0, 1],
      [-0, 1],
      [90, Infinity],
      [Infinity, Infinity],
    ],
  },
  log: {
    write: (m: Machine) => log(m, 0, [1, 2, 3, 4, 5]),
    // Of every exponent.
    given: (at: number) => ofBits(0x00800000 + Math.floor((noise(at, 2) + 1) * 0x3f000000)),
    wanted: Math.log,
    specials: [[1, 0]],
  },
  tanh: {
    write: (m: Machine) => tanh(m, 0, [1, 2, 3, 4, 5, 6]),
    given: (at: number) => noise(at, 3) * 10,
    wanted: Math.tanh,
    specials: [
      [Infinity, 1],
      [-Infinity, -1],
      [0, 0],
    ],
  },
} as const;

describe.each(Object.entries(FUNCTIONS))("%s", (_, { write, given, wanted, specials }) => {
  const numbers = Float32Array.from({ length: COUNT }, (_, at) => given(at));

  test.each(WRITERS)("is right to 2e-7 with %s; what is no number stays none", (code) => {
    const found = values(code, write, numbers);
    let worst = 0;
    found.forEach((value, at) => {
      const right = wanted(numbers[at] ?? NaN);
      const error = Math.abs(value - right) / Math.max(Math.abs(right), 2 ** -126);
      if (!(error <= worst)) worst = error;
    });
    expect(worst).toBeLessThan(2e-7);
    for (const [from, to] of specials) {
      for (const value of values(code, write, new Float32Array(16).fill(from))) expect(value).toBe(to);
    }
    // With either sign, as processors make both.
    const none = new Float32Array(
      Uint32Array.from({ length: 16 }, (_, at) => (at % 2 === 0 ? 0x7fc00000 : 0xffc00000)).buffer,
    );
    expect(values(code, write, none).every(Number.isNaN)).toBe(true);
  });
});

test("WebAssembly gives the same bits everywhere, machine code others: AVX2, AVX-512 and, in an emulator, NEON", () => {
  const found = WRITERS.map((code) =>
    Object.values(FUNCTIONS).map(({ write, given }) =>
      digest(
        values(
          code,
          write,
          Float32Array.from({ length: COUNT }, (_, at) => Math.fround(given(at))),
        ),
      ),
    ),
  );
  const [wasm, ...native] = found;
  expect(wasm).toEqual([9318894984434073780n, 714035536258192482n, 16257328607482329770n]);
  for (const digests of native)
    expect(digests).toEqual([10328058498610831597n, 4880147261264070163n, 9680223699242889203n]);
});

test("kernels compute no function whose bits are the platform's", async () => {
  const folder = join(import.meta.dir, "kernels");
  for (const file of new Bun.Glob("*.ts").scanSync(folder)) {
    const text = await Bun.file(join(folder, file)).text();
    expect([file, text.match(/Math\.(exp|log|pow|sin|cos|tan|sinh|cosh|tanh)\w*\(/g)]).toEqual([file, null]);
  }
});
