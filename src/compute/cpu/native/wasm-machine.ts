import { type At, type Blocks, type Count, type Lanes, type Machine, STORED_BYTES, type Stored } from "./machine.ts";
import type { WasmCode } from "./wasm-code.ts";
import { FIRST_LANES, WasmWords } from "./wasm-words.ts";

/** What x64 has of them beside one for products that are added; a routine that knows how many it needs may use more. */
const [REGISTERS, LOCALS] = [14, 32];
/** A vector on its way. */
const PART = FIRST_LANES + LOCALS;

const NOTHING = Array.from({ length: 14 }, () => -1);

/** 2^112, which corrects the bias of a half's exponent; 65536, which is above every half. */
const [BIAS, ABOVE] = [0x77800000, 0x47800000];

/**
 * WebAssembly with 128-bit SIMD: registers are locals, a routine is a function of the place of its arguments. A product and its sum are
 * rounded apart, since not every processor has FMA, and WebAssembly gives the same bits on all.
 */
export class WasmMachine extends WasmWords implements Machine {
  readonly lanes = 4;
  readonly registers = REGISTERS;
  readonly tile: Machine["tile"] = { rows: 2, vectors: 4 };
  readonly squares = 1;
  readonly fewRows = 4;
  readonly wholeRows = 2;

  finish(): Uint8Array<ArrayBuffer> {
    return this.code.finish(this.words, LOCALS + 1);
  }

  zero(to: Lanes): void {
    this.code.vector(Array.from({ length: 16 }, () => 0));
    this.#set(to);
  }

  load(to: Lanes, from: At, count: Count = "all"): void {
    this.code.access(count === "one" ? "load32" : "load", this.at(from));
    this.#set(to);
  }

  /** There is no instruction for it. */
  prefetch(): void {}

  store(from: Lanes, to: At, count: Count = "all"): void {
    const offset = this.at(to);
    this.#get(from);
    if (count === "one") this.code.storeLane(32, offset);
    else this.code.access("store", offset);
  }

  read(to: Lanes, from: At, stored: Stored, count: Count = "all"): void {
    if (STORED_BYTES[stored] === 4) return this.load(to, from, count);
    const offset = this.at(from);
    if (count === "one") {
      this.code.access("load16Splat", offset);
      this.#bytes([...(stored === "F16" ? [0, 1] : [-1, -1, 0, 1]), ...NOTHING].slice(0, 16));
      if (stored === "F16") this.code.simd("extendHalves");
    } else {
      this.code.access(stored === "F16" ? "load16x4" : "load64", offset);
      if (stored === "BF16") this.#bytes([0, 1, 2, 3].flatMap((lane) => [-1, -1, 2 * lane, 2 * lane + 1]));
    }
    if (stored === "F16") this.#halves();
    this.#set(to);
  }

  /** The address is whole: JavaScriptCore has one instruction for it then, and three where an offset is a part of it. */
  broadcast(to: Lanes, from: At): void {
    this.code.const(this.at(from));
    this.code.op("add");
    this.code.access("load32Splat", 0);
    this.#set(to);
  }

  broadcastArgument(to: Lanes, index: number): void {
    this.code.access("load32Splat", this.placeOf(index));
    this.#set(to);
  }

  constant(to: Lanes, bits: number): void {
    this.#lanes(bits);
    this.#set(to);
  }

  broadcastHalf(to: Lanes, from: At): void {
    this.code.access("load16Splat", this.at(from));
    this.code.simd("extendHalves");
    this.#halves();
    this.#set(to);
  }

  add32(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("add", to, a, b);
  }

  addFrom(sum: Lanes, from: At): void {
    this.#get(sum);
    this.code.access("load", this.at(from));
    this.code.simd("add");
    this.#set(sum);
  }

  multiply(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("multiply", to, a, b);
  }

  fma(sum: Lanes, a: Lanes, b: Lanes): void {
    this.#get(sum);
    this.#get(a);
    this.#get(b);
    this.code.simd("multiply");
    this.code.simd("add");
    this.#set(sum);
  }

  fmaOf(sum: Lanes, a: Lanes, from: At, temporary: Lanes): void {
    this.broadcast(temporary, from);
    this.fma(sum, a, temporary);
  }

  divide(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("divide", to, a, b);
  }

  subtract(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("subtract", to, a, b);
  }

  squareRoot(to: Lanes, from: Lanes): void {
    this.#get(from);
    this.code.simd("root");
    this.#set(to);
  }

  sumFour(lanes: Lanes): void {
    for (const other of [SWAPPED_PAIRS, SWAPPED]) {
      this.#get(lanes);
      this.#get(lanes);
      this.#get(lanes);
      this.code.shuffle(other);
      this.code.simd("add");
      this.#set(lanes);
    }
  }

  and(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("and", to, a, b);
  }

  or(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("or", to, a, b);
  }

  andNot(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("andNot", to, a, b);
  }

  largest(to: Lanes, most: Lanes, value: Lanes): void {
    this.#two("most", to, most, value);
  }

  atLeast(to: Lanes, value: Lanes, bound: Lanes): void {
    this.#two("most", to, value, bound);
  }

  atMost(to: Lanes, value: Lanes, bound: Lanes): void {
    this.#two("least", to, value, bound);
  }

  less(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("less", to, a, b);
  }

  /** Some engines need four instructions for a shift, and one for a product. */
  shiftLeft(to: Lanes, from: Lanes, bits: number): void {
    this.#get(from);
    this.#lanes(2 ** bits);
    this.code.simd("multiplyWhole");
    this.#set(to);
  }

  shiftRight(to: Lanes, from: Lanes, bits: number): void {
    this.#get(from);
    if (bits === 31) {
      this.#lanes(0);
      this.code.simd("lessWhole");
    } else {
      this.code.const(bits);
      this.code.simd("shiftRight");
    }
    this.#set(to);
  }

  larger(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("larger", to, a, b);
  }

  addPairs(sum: Lanes, a: Lanes, b: Lanes): void {
    this.#get(sum);
    this.#get(a);
    this.#get(b);
    this.code.simd("dot");
    this.code.simd("addWhole");
    this.#set(sum);
  }

  multiplyPairs(to: Lanes, a: Lanes, from: At): void {
    this.#get(a);
    this.code.access("load", this.at(from));
    this.code.simd("dot");
    this.#set(to);
  }

  addWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("addWhole", to, a, b);
  }

  subtractWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.#two("subtractWhole", to, a, b);
  }

  /** As `transpose`, but what it would bring side by side is added at once. */
  sumLanes(temporary: Lanes): void {
    this.#sums("addWhole", 0, temporary);
  }

  readonly addLanes = (first: Lanes): void => this.#sums("add", first, LOCALS - 1);

  #sums(add: "add" | "addWhole", first: Lanes, temporary: Lanes): void {
    const joined = (a: Lanes, b: Lanes, low: Four, high: Four): void => {
      this.#shuffle(temporary, first + a, first + b, low);
      this.#shuffle(first + a, first + a, first + b, high);
      this.#two(add, first + a, first + a, temporary);
    };
    joined(0, 1, LOW, HIGH);
    joined(2, 3, LOW, HIGH);
    joined(0, 2, LOW_PAIRS, HIGH_PAIRS);
  }

  fromWhole(to: Lanes, from: Lanes): void {
    this.#get(from);
    this.code.simd("fromWhole");
    this.#set(to);
  }

  storeWhole(from: Lanes, to: At): void {
    const offset = this.at(to);
    this.#get(from);
    this.code.simd("nearest");
    this.code.simd("truncate");
    this.code.tee(PART);
    this.code.get(PART);
    this.code.simd("narrow");
    this.code.storeLane(64, offset);
  }

  readPairs(
    to: Lanes,
    from: At,
    blocks: Blocks,
    part: number,
    [nibbles, eights]: readonly [Lanes, Lanes, Lanes],
  ): void {
    const offset = this.at(from);
    if (blocks === "Q8_0") this.code.access("load8x8", offset + part * 8);
    else {
      this.code.access("load64", offset + (part % 2) * 8);
      if (part >= 2) {
        this.code.const(4);
        this.code.simd("shiftRightBytes");
      } else {
        this.#get(nibbles);
        this.code.simd("and");
      }
      this.#get(eights);
      this.code.simd("subtractBytes");
      this.code.simd("extendBytes");
    }
    this.#set(to);
  }

  readWhole(to: Lanes, from: At, blocks: Blocks, high: boolean, [nibbles, eights]: readonly [Lanes, Lanes]): void {
    this.code.access("load32", this.at(from));
    if (blocks === "Q8_0") {
      this.code.simd("extendBytes");
      this.code.simd("extendHalves");
    } else {
      this.code.simd("extendBytesUnsigned");
      this.code.simd("extendHalvesUnsigned");
      if (high) {
        this.code.const(4);
        this.code.simd("shiftRightUnsigned");
      } else {
        this.#get(nibbles);
        this.code.simd("and");
      }
      this.#get(eights);
      this.code.simd("subtractWhole");
    }
    this.code.simd("fromWhole");
    this.#set(to);
  }

  lowerHalves(to: Lanes, from: Lanes): void {
    this.#get(from);
    this.#bytes([0, 1, 2, 3].flatMap((lane) => [-1, -1, 4 * lane, 4 * lane + 1]));
    this.#set(to);
  }

  upperHalves(to: Lanes, from: Lanes): void {
    this.#get(from);
    this.#lanes(0xffff0000);
    this.code.simd("and");
    this.#set(to);
  }

  transpose(): Lanes[] {
    for (const row of [0, 2]) {
      this.#shuffle(4 + row, row, row + 1, LOW);
      this.#shuffle(5 + row, row, row + 1, HIGH);
    }
    this.#shuffle(0, 4, 6, LOW_PAIRS);
    this.#shuffle(1, 4, 6, HIGH_PAIRS);
    this.#shuffle(2, 5, 7, LOW_PAIRS);
    this.#shuffle(3, 5, 7, HIGH_PAIRS);
    return [0, 1, 2, 3];
  }

  loadTransposed(rowAt: (row: number) => At): Lanes[] {
    for (let row = 0; row < this.lanes; row++) this.load(row, rowAt(row));
    return this.transpose();
  }

  #get(lanes: Lanes): void {
    this.code.get(FIRST_LANES + lanes);
  }

  #set(lanes: Lanes): void {
    this.code.set(FIRST_LANES + lanes);
  }

  #two(name: Parameters<WasmCode["simd"]>[0], to: Lanes, a: Lanes, b: Lanes): void {
    this.#get(a);
    this.#get(b);
    this.code.simd(name);
    this.#set(to);
  }

  #shuffle(to: Lanes, a: Lanes, b: Lanes, words: Four): void {
    this.#get(a);
    this.#get(b);
    this.code.shuffle(words);
    this.#set(to);
  }

  /** The same 32 bits in all lanes, on the stack. */
  #lanes(bits: number): void {
    this.code.vector([0, 1, 2, 3].flatMap(() => [0, 8, 16, 24].map((shift) => (bits >>> shift) & 255)));
  }

  /** Bytes of the vector on the stack, by their places; −1 is a zero. */
  #bytes(places: readonly number[]): void {
    this.code.vector(places.map((place) => place & 255));
    this.code.simd("swizzle");
  }

  /**
   * IEEE halves in the lanes of the vector on the stack, extended by their signs, as f32. A product corrects the exponent, of subnormal
   * numbers as well; infinity and what is no number are above all that it gives, and get all bits of an exponent.
   */
  #halves(): void {
    const code = this.code;
    this.#lanes(2 ** 13);
    code.simd("multiplyWhole");
    this.#lanes(0x8fffe000);
    code.simd("and");
    this.#lanes(BIAS);
    code.simd("multiply");
    code.tee(PART);
    code.get(PART);
    this.#lanes(0x7fffffff);
    code.simd("and");
    this.#lanes(ABOVE);
    code.simd("atLeast");
    this.#lanes(0x7f800000);
    code.simd("and");
    code.simd("or");
  }
}

type Four = readonly [number, number, number, number];

/** Words of two vectors, each beside the other's: the first and the second of both, the third and the fourth. */
const [LOW, HIGH]: readonly [Four, Four] = [
  [0, 4, 1, 5],
  [2, 6, 3, 7],
];
/** The second half of the first before its first one; neighbors. */
const [SWAPPED_PAIRS, SWAPPED]: readonly [Four, Four] = [
  [2, 3, 0, 1],
  [1, 0, 3, 2],
];
/** The first half of both, the second. */
const [LOW_PAIRS, HIGH_PAIRS]: readonly [Four, Four] = [
  [0, 1, 4, 5],
  [2, 3, 6, 7],
];
