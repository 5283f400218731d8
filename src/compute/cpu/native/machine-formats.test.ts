// The same as machine.test.ts, of numbers of 16 bits, whole numbers and blocks, and of squares.
import { describe, expect, test } from "bun:test";
import { noise } from "./testing/numbers.ts";
import { A, B, C, lanesOf, ROOM, run, TO, words, WRITERS } from "./testing/trial-of-routine.ts";

/** The number whose half has these bits. */
const half = (of: number) => {
  const [sign, exponent, fraction] = [(of & 0x8000) === 0 ? 1 : -1, (of >> 10) & 31, of & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
};

describe.each(WRITERS)("%s", (code) => {
  const lanes = lanesOf(code);
  const each = (value: (lane: number) => number) => Array.from({ length: lanes }, (_, lane) => value(lane));
  const at = (of: ArrayLike<number>, lane: number) => of[lane] ?? NaN;

  test("numbers of 16 bits: every half", () => {
    const bytes = (first: number) =>
      new Uint8Array(Uint16Array.from({ length: 2 * ROOM }, (_, at) => first + at).buffer);
    for (let first = 0; first < 2 ** 16; first += ROOM) {
      const found = run(
        code,
        (m) => {
          m.argument(4, 4);
          m.steps(4, 1, () => {
            m.read(0, A, "F16");
            m.store(0, TO);
            m.add(0, { bytes: lanes * 2 });
            m.add(3, { bytes: lanes * 4 });
          });
        },
        [bytes(first)],
        [ROOM / lanes],
      );
      expect(found.floats).toEqual(Array.from({ length: ROOM }, (_, at) => half(first + at)));
    }
    const halves = Uint16Array.from({ length: 32 }, (_, at) => 0x3c00 + at * 37);
    const found = run(
      code,
      (m) => {
        m.read(0, A, "BF16");
        m.store(0, TO);
        m.read(0, { ...A, offset: 2 }, "BF16", "one");
        m.store(0, { ...TO, offset: 64 }, "one");
        m.read(0, { ...A, offset: 2 }, "F16", "one");
        m.store(0, { ...TO, offset: 68 }, "one");
        m.read(0, { ...B }, "F32");
        m.store(0, { ...TO, offset: 128 });
        m.broadcastHalf(0, { ...A, offset: 2 });
        m.store(0, { ...TO, offset: 192 });
        m.load(1, A);
        m.lowerHalves(0, 1);
        m.store(0, { ...TO, offset: 256 });
        m.upperHalves(0, 1);
        m.store(0, { ...TO, offset: 320 });
      },
      [new Uint8Array(halves.buffer), words(1)],
    );
    const part = (of: number) => found.words.slice(of * 16, of * 16 + lanes);
    expect(part(0)).toEqual(each((lane) => at(halves, lane) << 16));
    expect(found.words[16]).toBe(at(halves, 1) << 16);
    expect(found.floats[17]).toBe(half(at(halves, 1)));
    expect(part(2)).toEqual(Array.from(words(1).slice(0, lanes)));
    expect(found.floats.slice(48, 48 + lanes)).toEqual(each(() => half(at(halves, 1))));
    expect(part(4)).toEqual(each((lane) => at(halves, 2 * lane) << 16));
    expect(part(5)).toEqual(each((lane) => at(halves, 2 * lane + 1) << 16));
  });

  test("pairs of 16 bits, and sums of lanes", () => {
    const shorts = (turn: number) => Int16Array.from({ length: 512 }, (_, at) => noise(at, turn) * 2 ** 14);
    const [a, b] = [shorts(12), shorts(13)];
    const pair = (lane: number) => at(a, 2 * lane) * at(b, 2 * lane) + at(a, 2 * lane + 1) * at(b, 2 * lane + 1);
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.load(2, B);
        m.constant(0, 5);
        m.addPairs(0, 1, 2, 3);
        m.store(0, TO);
        m.multiplyPairs(0, 1, B);
        m.store(0, { ...TO, offset: 64 });
        for (let row = 0; row < lanes; row++) m.load(row, { ...C, offset: row * lanes * 4 });
        m.sumLanes(lanes);
        m.store(0, { ...TO, offset: 128 });
        m.load(1, C);
        m.fromWhole(0, 1);
        m.store(0, { ...TO, offset: 192 });
      },
      [new Uint8Array(a.buffer), new Uint8Array(b.buffer), Int32Array.from({ length: 256 }, (_, at) => at * at - 7000)],
    );
    const third = (at: number) => at * at - 7000;
    expect(found.whole.slice(0, lanes)).toEqual(each((lane) => pair(lane) + 5));
    expect(found.whole.slice(16, 16 + lanes)).toEqual(each(pair));
    const sum = (row: number) => each((lane) => third(row * lanes + lane)).reduce((sum, value) => sum + value, 0);
    expect(found.whole.slice(32, 32 + lanes)).toEqual(each(sum));
    expect(found.floats.slice(48, 48 + lanes)).toEqual(each(third));
  });

  test("numbers rounded to 16 bits", () => {
    const a = Float32Array.from(
      { length: 16 },
      (_, at) => [0.5, 1.5, -0.5, -2.5, 16383.4, -16383, 7.49, 0][at % 8] ?? 0,
    );
    const found = run(
      code,
      (m) => {
        m.load(1, A);
        m.storeWhole(1, TO);
      },
      [a],
    );
    const wanted = each((lane) => [0, 2, 0, -2, 16383, -16383, 7, 0][lane % 8] ?? 0);
    expect(found.shorts.slice(0, lanes)).toEqual(wanted);
  });

  test("whole numbers of blocks", () => {
    const quants = Uint8Array.from({ length: 32 }, (_, at) => at * 167 + 3);
    const parts = 16 / lanes;
    const found = run(
      code,
      (m) => {
        for (let part = 0; part < parts; part++) {
          m.readPairs(0, A, "Q8_0", part, [1, 2, 3]);
          m.store(0, { ...TO, offset: part * lanes * 4 });
          m.constant(1, 0x0f0f0f0f);
          m.constant(2, 0x08080808);
          m.readPairs(0, A, "Q4_0", part, [1, 2, 3]);
          m.store(0, { ...TO, offset: 64 + part * lanes * 4 });
        }
        m.constant(1, 15);
        m.constant(2, 8);
        m.readWhole(0, A, "Q8_0", false, [1, 2]);
        m.store(0, { ...TO, offset: 128 });
        m.readWhole(0, A, "Q4_0", false, [1, 2]);
        m.store(0, { ...TO, offset: 192 });
        m.readWhole(0, A, "Q4_0", true, [1, 2]);
        m.store(0, { ...TO, offset: 256 });
      },
      [quants],
    );
    const { shorts } = found;
    const nibble = (of: number) => (of < 16 ? at(quants, of) & 15 : at(quants, of - 16) >> 4) - 8;
    expect(shorts.slice(0, 32)).toEqual([...new Int8Array(quants.buffer)]);
    expect(shorts.slice(32, 64)).toEqual(Array.from({ length: 32 }, (_, of) => nibble(of)));
    const floats = (place: number) => found.floats.slice(place * 16, place * 16 + lanes);
    expect(floats(2)).toEqual(each((lane) => at(new Int8Array(quants.buffer), lane)));
    expect(floats(3)).toEqual(each(nibble));
    expect(floats(4)).toEqual(each((lane) => nibble(16 + lane)));
  });

  test("squares are turned around, from registers and from memory", () => {
    const a = Uint32Array.from({ length: 256 }, (_, at) => at);
    for (const from of ["registers", "memory"]) {
      const found = run(
        code,
        (m) => {
          const row = (at: number) => ({ ...A, offset: at * lanes * 4 });
          if (from === "registers") for (let at = 0; at < lanes; at++) m.load(at, row(at));
          const columns = from === "registers" ? m.transpose() : m.loadTransposed(row);
          columns.forEach((column, at) => m.store(column, { ...TO, offset: at * lanes * 4 }));
        },
        [a],
      );
      const wanted = Array.from({ length: lanes ** 2 }, (_, at) => (at % lanes) * lanes + Math.floor(at / lanes));
      expect(found.words.slice(0, lanes ** 2)).toEqual(wanted);
    }
  });
});
