// Every method of each machine that runs here, beside what it says that it does.
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Machine } from "./machine.ts";
import { Arm64Machine } from "./arm64-machine.ts";
import { A, B, bits, C, exact, lanesOf, NONE, run, TO, words, WRITERS } from "./testing/trial-of-routine.ts";
import { WasmMachine } from "./wasm-machine.ts";

/** Of two vectors, what a method makes of each lane. */
const FLOATS: Readonly<Record<string, (a: number, b: number) => number>> = {
  add32: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
};
const WHOLE: Readonly<Record<string, (a: number, b: number) => number>> = {
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  andNot: (a, b) => a & ~b,
  larger: (a, b) => Math.max(a | 0, b | 0),
  addWhole: (a, b) => a + b,
  subtractWhole: (a, b) => a - b,
};

/** Calls a method that takes three registers. */
function three(m: Machine, name: string, to: number, a: number, b: number): void {
  const method: unknown = Reflect.get(m, name);
  if (typeof method !== "function") throw new Error(`there is no ${name}`);
  Reflect.apply(method, m, [to, a, b]);
}

describe.each(WRITERS)("%s", (code) => {
  const lanes = lanesOf(code);
  const each = (value: (lane: number) => number) => Array.from({ length: lanes }, (_, lane) => value(lane));
  const at = (of: ArrayLike<number>, lane: number) => of[lane] ?? NaN;

  test("words: arguments, sums, copies, loads", () => {
    const found = run(
      code,
      (m) => {
        const put = (word: number, place: number): void => {
          // A word reaches memory as an address: what lies there.
          m.broadcast(0, { word: 0, index: word });
          m.store(0, { word: 3, offset: place * 4 }, "one");
        };
        m.argument(4, 4);
        put(4, 0);
        m.argumentBehind(5, 3, 4);
        put(5, 1);
        m.zeroWord(6);
        put(6, 2);
        m.add(6, { bytes: 5000 });
        m.add(6, { bytes: -4992 });
        put(6, 3);
        m.copy(7, 6);
        m.add(7, 4);
        put(7, 4);
        m.loadWord(8, { word: 1, offset: 4 });
        put(8, 5);
        m.loadWords(9, 10, { word: 1, offset: 8 });
        put(9, 6);
        put(10, 7);
        m.heap(11);
        m.argument(12, 0);
        m.loadWord(11, { word: 11, index: 12, offset: 44 });
        m.add(11, { bytes: 1 });
        m.broadcastArgument(1, 6);
        m.store(1, { word: 3, offset: 32 });
        m.prefetch(A);
      },
      [Float32Array.from({ length: 64 }, (_, at) => at), Uint32Array.of(0, 20, 24, 28)],
      // Number 5 is 4 bytes behind number 3, and 4 more.
      [4, 12, 77],
    );
    expect(found.floats.slice(0, 3)).toEqual([1, 1, 0]);
    expect(found.floats.slice(3, 8)).toEqual([2, 3, 5, 6, 7]);
    expect(found.words.slice(8, 8 + lanes)).toEqual(each(() => 77));
  });

  test("steps and take: a body runs for each whole step, and what is left stays", () => {
    const counts = (left: number, step: number) =>
      run(
        code,
        (m) => {
          m.argument(4, 4);
          m.copy(6, 3);
          m.steps(4, step, () => {
            m.constant(0, 1);
            m.store(0, { word: 6 }, "one");
            m.add(6, { bytes: 4 });
          });
          m.steps(4, 1, () => {
            m.constant(0, 2);
            m.store(0, { word: 6 }, "one");
            m.add(6, { bytes: 4 });
          });
        },
        [],
        [left],
      ).words.slice(0, 12);
    for (const [left, step] of [
      [0, 4],
      [3, 4],
      [4, 4],
      [9, 4],
      [2, 1],
    ] as const) {
      const wanted = [...Array<number>(Math.floor(left / step)).fill(1), ...Array<number>(left % step).fill(2)];
      expect(counts(left, step)).toEqual([...wanted, ...Array<number>(12 - wanted.length).fill(0)]);
    }
    const taken = (left: number) =>
      run(
        code,
        (m) => {
          m.argument(4, 4);
          m.take(5, 4, 3);
          m.copy(6, 3);
          for (const word of [5, 4]) {
            m.steps(word, 1, () => {
              m.constant(0, word);
              m.store(0, { word: 6 }, "one");
              m.add(6, { bytes: 4 });
            });
          }
        },
        [],
        [left],
      ).words;
    expect(taken(5).slice(0, 6)).toEqual([5, 5, 5, 4, 4, 0]);
    expect(taken(2).slice(0, 3)).toEqual([5, 5, 0]);
  });

  test.each(Object.entries(FLOATS))("%s", (name, wanted) => {
    const [a, b] = [exact(1), exact(2).map((value) => (value === 0 ? 1 : value))];
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.load(2, B);
        three(m, name, 0, 1, 2);
        m.store(0, TO);
      },
      [a, b],
    );
    expect(found.floats.slice(0, lanes)).toEqual(each((lane) => Math.fround(wanted(at(a, lane), at(b, lane)))));
  });

  test.each(Object.entries(WHOLE))("%s", (name, wanted) => {
    const [a, b] = [words(3), words(4)];
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.load(2, B);
        three(m, name, 0, 1, 2);
        m.store(0, TO);
      },
      [a, b],
    );
    expect(found.words.slice(0, lanes)).toEqual(each((lane) => wanted(at(a, lane), at(b, lane)) >>> 0));
  });

  test("largest passes over what is no number; atLeast and atMost keep it, and it is less than nothing", () => {
    const value = new Uint32Array(16).map((_, lane) => (lane % 2 === 0 ? NONE : (bits(exact(5))[lane] ?? 0)));
    const bound = exact(6);
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.load(2, B);
        m.largest(0, 2, 1);
        m.store(0, TO);
        m.atLeast(0, 1, 2);
        m.store(0, { ...TO, offset: 64 });
        m.atMost(0, 1, 2);
        m.store(0, { ...TO, offset: 128 });
        m.less(0, 1, 2);
        m.store(0, { ...TO, offset: 192 });
      },
      [value, bound],
    );
    const number = new Float32Array(value.buffer);
    const odd = (lane: number, wanted: number, none: number) => (lane % 2 === 0 ? none : wanted);
    const both = (of: "max" | "min") => (lane: number) => odd(lane, Math[of](at(number, lane), at(bound, lane)), NaN);
    const most = (lane: number) => odd(lane, Math.max(at(number, lane), at(bound, lane)), at(bound, lane));
    const less = each((lane) => (at(number, lane) < at(bound, lane) ? -1 : 0));
    expect(found.whole.slice(48, 48 + lanes)).toEqual(less);
    expect(found.floats.slice(0, lanes)).toEqual(each(most));
    expect(found.floats.slice(16, 16 + lanes)).toEqual(each(both("max")));
    expect(found.floats.slice(32, 32 + lanes)).toEqual(each(both("min")));
  });

  test("sums of products", () => {
    const [a, b, c] = [exact(7), exact(8), exact(9)];
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.load(2, B);
        m.load(3, C);
        m.fma(3, 1, 2);
        m.store(3, TO);
        m.fmaOf(3, 1, { ...B, offset: 4 }, 4);
        m.store(3, { ...TO, offset: 64 });
        m.addFrom(3, B);
        m.store(3, { ...TO, offset: 128 });
      },
      [a, b, c],
    );
    const first = (lane: number) => at(c, lane) + at(a, lane) * at(b, lane);
    const second = (lane: number) => first(lane) + at(a, lane) * at(b, 1);
    expect(found.floats.slice(0, lanes)).toEqual(each(first));
    expect(found.floats.slice(16, 16 + lanes)).toEqual(each(second));
    expect(found.floats.slice(32, 32 + lanes)).toEqual(each((lane) => second(lane) + at(b, lane)));
  });

  test("loads and stores of one number, of four, of a vector; zeros and constants", () => {
    const a = words(10);
    const found = run(
      code,
      (m) => {
        m.zeroWord(4);
        m.add(4, { bytes: 8 });
        m.constant(0, 0xdeadbeef);
        for (let at = 0; at < 64; at += lanes) m.store(0, { ...TO, offset: at * 4 });
        m.load(1, { word: 0, index: 4, offset: 4 }, "one");
        m.store(1, TO, "one");
        m.load(1, A, "four");
        m.store(1, { word: 3, index: 4, offset: 56 }, "four");
        m.zero(1);
        m.store(1, { ...TO, offset: 128 });
      },
      [a],
    );
    const dead = 0xdeadbeef;
    expect(found.words.slice(0, 2)).toEqual([at(a, 3), dead]);
    expect(found.words.slice(16, 21)).toEqual([...a.slice(0, 4), dead]);
    expect(found.words.slice(32, 33 + lanes)).toEqual([...each(() => 0), dead]);
  });

  test("square roots, and sums of the first four lanes", () => {
    const a = Float32Array.from({ length: 16 }, (_, lane) => Math.fround(1.1 ** (7 * lane)));
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.squareRoot(0, 1);
        m.store(0, TO);
        m.load(1, A);
        m.sumFour(1, 2);
        m.store(1, { ...TO, offset: 64 });
      },
      [a],
    );
    const sum = Math.fround(Math.fround(at(a, 0) + at(a, 2)) + Math.fround(at(a, 1) + at(a, 3)));
    expect(found.floats.slice(0, lanes)).toEqual(each((lane) => Math.fround(Math.sqrt(at(a, lane)))));
    expect(found.floats.slice(16, 16 + lanes)).toEqual(each(() => sum));
  });

  test("shifts", () => {
    const a = words(11);
    const shifts = [1, 16, 23, 31];
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        shifts.forEach((bits, at) => {
          m.shiftLeft(0, 1, bits);
          m.store(0, { ...TO, offset: at * 128 });
          m.shiftRight(0, 1, bits);
          m.store(0, { ...TO, offset: at * 128 + 64 });
        });
      },
      [a],
    );
    shifts.forEach((bits, turn) => {
      expect(found.whole.slice(turn * 32, turn * 32 + lanes)).toEqual(each((lane) => at(a, lane) << bits));
      expect(found.whole.slice(turn * 32 + 16, turn * 32 + 16 + lanes)).toEqual(each((lane) => at(a, lane) >> bits));
    });
  });
});

test("every method stands above or in machine-formats.test.ts", async () => {
  const files = [import.meta.path, join(import.meta.dir, "machine-formats.test.ts")];
  const text = (await Promise.all(files.map((file) => Bun.file(file).text()))).join("");
  const names = [WasmMachine, Arm64Machine].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype));
  const left = names.filter(
    (name) => name !== "enter" && name !== "constructor" && !new RegExp(`\\b${name}\\b`).test(text),
  );
  // These stand in every routine.
  expect(left.filter((name) => name !== "end" && name !== "finish")).toEqual([]);
});
