import type { CheckedMemory } from "./memory.ts";

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

function bytes(packed: number): number[] {
  return [packed << 24, packed << 16, packed << 8, packed].map((shifted) => shifted >> 24);
}

/** What compiled shaders call. */
export const RUNTIME = {
  // One of two operands that is no number goes, as on most GPUs: what relies on NaN staying is wrong there.
  min: (a: number, b: number): number => (a < b || Number.isNaN(b) ? a : b),
  max: (a: number, b: number): number => (a > b || Number.isNaN(b) ? a : b),
  choose: <T>(no: T, yes: T, condition: boolean): T => (condition ? yes : no),
  divide: (a: number, b: number): number => (b === 0 ? a : Math.trunc(a / b)),
  remainder: (a: number, b: number): number => (b === 0 ? 0 : a % b),
  round(a: number): number {
    const near = Math.round(a);
    return Math.abs(a % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
  },
  to_u32: (a: number): number => (a > 0 ? Math.min(Math.trunc(a), 0xffffffff) : 0),
  to_i32: (a: number): number => (Number.isNaN(a) ? 0 : Math.max(-(2 ** 31), Math.min(Math.trunc(a), 2 ** 31 - 1))),
  bits(a: number): number {
    float[0] = a;
    return word[0] ?? 0;
  },
  float(bits: number): number {
    word[0] = bits;
    return float[0] ?? 0;
  },
  dot4I8Packed(a: number, b: number): number {
    const right = bytes(b);
    return bytes(a).reduce((sum, one, at) => sum + one * (right[at] ?? 0), 0);
  },
  pack4xI8: (a: readonly number[]): number =>
    a.reduce((packed, one, at) => packed | ((one & 0xff) << (8 * at)), 0) >>> 0,
  /** An index into a local variable. */
  within(index: number, count: number, report: (what: string, line: number) => void, line: number): number {
    if (index >= 0 && index < count) return index;
    report(`index ${index} into ${count} components`, line);
    return count - 1;
  },
  load(memory: CheckedMemory, view: "floats" | "words" | "integers", at: number, size: number, line: number): number[] {
    const first = memory.reads(at, size, line);
    const found: number[] = [];
    for (let i = first; i < first + size; i++) found.push(memory[view][i] ?? NaN);
    return found;
  },
  /** The value is read before it is noted that it is written. */
  put(memory: CheckedMemory, view: "floats" | "words" | "integers", at: number, value: number, line: number): void {
    memory[view][memory.writes(at, 1, line)] = value;
  },
  store(
    memory: CheckedMemory,
    view: "floats" | "words" | "integers",
    at: number,
    values: readonly number[],
    line: number,
  ): void {
    const first = memory.writes(at, values.length, line);
    for (let i = 0; i < values.length; i++) memory[view][first + i] = values[i] ?? NaN;
  },
  /** One component: WGSL lets an implementation read the whole vector, change it and write it back (gpuweb issue 2112). */
  storeComponent(
    memory: CheckedMemory,
    view: "floats" | "words" | "integers",
    [at, size, index]: readonly [number, number, number],
    value: number,
    line: number,
  ): void {
    memory[view][memory.writes(at, size, line) + index] = value;
  },
  /** Two IEEE halves, the lower one first. */
  unpack2x16float: (word: number): number[] => [widened(word & 0xffff), widened(word >>> 16)],
  atomicMax(memory: CheckedMemory, at: number, value: number): number {
    const old = memory.words[memory.changes(at)] ?? 0;
    memory.words[at] = Math.max(old, value);
    return old;
  },
  atomicAnd(memory: CheckedMemory, at: number, value: number): number {
    const old = memory.words[memory.changes(at)] ?? 0;
    memory.words[at] = old & value;
    return old;
  },
  atomicOr(memory: CheckedMemory, at: number, value: number): number {
    const old = memory.words[memory.changes(at)] ?? 0;
    memory.words[at] = old | value;
    return old;
  },
  atomicStore(memory: CheckedMemory, at: number, value: number): void {
    memory.words[memory.changes(at)] = value;
  },
  atomicLoad: (memory: CheckedMemory, at: number, line: number): number => memory.words[memory.reads(at, 1, line)] ?? 0,
};

function widened(half: number): number {
  const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
  const sign = half >> 15 === 0 ? 1 : -1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
