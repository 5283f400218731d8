import { Arm64, type Arm64Memory } from "./arm64.ts";
import { Label } from "./code.ts";
import {
  type At,
  type Blocks,
  type Count,
  type Lanes,
  type Machine,
  STORED_BYTES,
  type Stored,
  type Word,
} from "./machine.ts";

/** The begin of the heap, the arguments, the stack. */
const [HEAP, ARGUMENTS, STACK] = [0, 1, 31];
/** Addresses and large numbers on their way: x16, x17. */
const [ADDRESS, NUMBER] = [16, 17];
/** Words are x2 to x15. */
const [FIRST_WORD, WORDS] = [2, 14];

/** aarch64 with NEON. Vectors v8 to v15 are the caller's, in their lower halves: they are kept. */
export class Arm64Machine implements Machine {
  readonly lanes = 4;
  readonly registers = 32;
  readonly words = WORDS;
  readonly tile = { rows: 6, vectors: 4 } as const;
  readonly squares = 4;
  readonly fewRows = 4;
  readonly wholeRows = 3;
  readonly #code = new Arm64();
  /** What lies behind the routine. */
  readonly #constants = new Map<number, Label>();

  /** What JavaScript calls: (begin of the heap, bytes to the arguments, address of a routine). */
  enter(): void {
    const code = this.#code;
    code.subi(STACK, STACK, 80);
    code.strx(30, { base: STACK, offset: 0 });
    for (let at = 0; at < 8; at++) code.strd(8 + at, { base: STACK, offset: 8 + 8 * at });
    code.addw(ARGUMENTS, HEAP, ARGUMENTS);
    code.blr(2);
    for (let at = 0; at < 8; at++) code.ldrd(8 + at, { base: STACK, offset: 8 + 8 * at });
    code.ldrx(30, { base: STACK, offset: 0 });
    code.addi(STACK, STACK, 80);
    this.end();
  }

  end(): void {
    this.#code.ret();
    for (const [bits, label] of this.#constants) {
      this.#code.place(label);
      this.#code.word(bits);
    }
    this.#constants.clear();
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#code.finish();
  }

  argument(to: Word, index: number): void {
    this.#code.ldrw(word(to), { base: ARGUMENTS, offset: index * 4 });
  }

  argumentBehind(to: Word, index: number, bytes: Word): void {
    this.#code.add(ADDRESS, ARGUMENTS, word(bytes));
    this.#code.ldrw(word(to), { base: ADDRESS, offset: index * 4 });
  }

  address(to: Word, index: number): void {
    this.argument(to, index);
    this.#code.add(word(to), HEAP, word(to));
  }

  heap(to: Word): void {
    this.#code.mov(word(to), HEAP);
  }

  copy(to: Word, from: Word): void {
    this.#code.mov(word(to), word(from));
  }

  zeroWord(to: Word): void {
    this.#code.movz(word(to), 0);
  }

  loadWord(to: Word, from: At): void {
    this.#code.ldrw(word(to), this.#memory(from, 4));
  }

  loadWords(first: Word, second: Word, from: At): void {
    this.loadWord(first, from);
    this.loadWord(second, { ...from, offset: (from.offset ?? 0) + 4 });
  }

  add(to: Word, what: Word | { readonly bytes: number }): void {
    if (typeof what === "number") return this.#code.add(word(to), word(to), word(what));
    if (what.bytes < 4096) return this.#code.addi(word(to), word(to), what.bytes);
    this.#code.movz(NUMBER, what.bytes);
    this.#code.add(word(to), word(to), NUMBER);
  }

  steps(left: Word, step: number, body: () => void): void {
    const [again, done] = [new Label(), new Label()];
    this.#code.subs(word(left), word(left), step);
    this.#code.blo(done);
    this.#code.place(again);
    body();
    this.#code.subs(word(left), word(left), step);
    this.#code.bhs(again);
    this.#code.place(done);
    this.#code.addi(word(left), word(left), step);
  }

  take(to: Word, left: Word, most: number): void {
    const done = new Label();
    this.#code.movz(word(to), most);
    this.#code.subs(word(left), word(left), most);
    this.#code.bhs(done);
    this.#code.add(word(to), word(to), word(left));
    this.#code.movz(word(left), 0);
    this.#code.place(done);
  }

  zero(to: Lanes): void {
    this.#code.eor(to, to, to);
  }

  load(to: Lanes, from: At, count: Count = "all"): void {
    if (count === "one") this.#code.ldrs(to, this.#memory(from, 4));
    else this.#code.ldrq(to, this.#memory(from, 16));
  }

  prefetch(from: At): void {
    this.#code.prfm(this.#memory(from, 8));
  }

  store(from: Lanes, to: At, count: Count = "all"): void {
    if (count === "one") this.#code.strs(from, this.#memory(to, 4));
    else this.#code.strq(from, this.#memory(to, 16));
  }

  read(to: Lanes, from: At, stored: Stored, count: Count = "all"): void {
    if (STORED_BYTES[stored] === 4) return this.load(to, from, count);
    if (count === "one") this.#code.ldrh(to, this.#memory(from, 2));
    else this.#code.ldrd(to, this.#memory(from, 8));
    if (stored === "F16") this.#code.fcvtl(to, to);
    else this.#code.shll(to, to);
  }

  broadcast(to: Lanes, from: At): void {
    this.#code.ldrs(to, this.#memory(from, 4));
    this.#code.dup(to, to);
  }

  broadcastArgument(to: Lanes, index: number): void {
    this.#code.ldrs(to, { base: ARGUMENTS, offset: index * 4 });
    this.#code.dup(to, to);
  }

  constant(to: Lanes, bits: number): void {
    const near = this.#constants.get(bits) ?? new Label();
    this.#constants.set(bits, near);
    this.#code.ldrsNear(to, near);
    this.#code.dup(to, to);
  }

  broadcastHalf(to: Lanes, from: At): void {
    this.read(to, from, "F16", "one");
    this.#code.dup(to, to);
  }

  add32(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fadd(to, a, b);
  }

  addFrom(sum: Lanes, from: At): void {
    this.load(this.registers - 1, from);
    this.#code.fadd(sum, sum, this.registers - 1);
  }

  multiply(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fmul(to, a, b);
  }

  fma(sum: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fmla(sum, a, b);
  }

  fmaOf(sum: Lanes, a: Lanes, from: At, temporary: Lanes): void {
    this.broadcast(temporary, from);
    this.fma(sum, a, temporary);
  }

  divide(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fdiv(to, a, b);
  }

  subtract(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fsub(to, a, b);
  }

  squareRoot(to: Lanes, from: Lanes): void {
    this.#code.fsqrt(to, from);
  }

  sumFour(lanes: Lanes, temporary: Lanes): void {
    for (const by of [8, 4]) {
      this.#code.ext(temporary, lanes, lanes, by);
      this.#code.fadd(lanes, lanes, temporary);
    }
  }

  and(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.and(to, a, b);
  }

  larger(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.smax(to, a, b);
  }

  or(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.orr(to, a, b);
  }

  andNot(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.bic(to, a, b);
  }

  largest(to: Lanes, most: Lanes, value: Lanes): void {
    this.#code.fmaxnm(to, most, value);
  }

  atLeast(to: Lanes, value: Lanes, bound: Lanes): void {
    this.#code.fmax(to, value, bound);
  }

  atMost(to: Lanes, value: Lanes, bound: Lanes): void {
    this.#code.fmin(to, value, bound);
  }

  less(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.fcmgt(to, b, a);
  }

  shiftLeft(to: Lanes, from: Lanes, bits: number): void {
    this.#code.shl(to, from, bits);
  }

  shiftRight(to: Lanes, from: Lanes, bits: number): void {
    this.#code.sshr(to, from, bits);
  }

  addPairs(sum: Lanes, a: Lanes, b: Lanes, temporary: Lanes): void {
    this.#pairs(temporary, a, b);
    this.#code.add4s(sum, sum, temporary);
  }

  multiplyPairs(to: Lanes, a: Lanes, from: At): void {
    this.#code.ldrq(this.registers - 2, this.#memory(from, 16));
    this.#pairs(to, a, this.registers - 2);
  }

  addWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.add4s(to, a, b);
  }

  subtractWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.sub4s(to, a, b);
  }

  sumLanes(): void {
    this.#code.addp(0, 0, 1);
    this.#code.addp(2, 2, 3);
    this.#code.addp(0, 0, 2);
  }

  fromWhole(to: Lanes, from: Lanes): void {
    this.#code.scvtf(to, from);
  }

  storeWhole(from: Lanes, to: At): void {
    this.#code.fcvtns(from, from);
    this.#code.sqxtn(from, from);
    this.#code.strd(from, this.#memory(to, 8));
  }

  readPairs(
    to: Lanes,
    from: At,
    blocks: Blocks,
    part: number,
    [nibbles, eights]: readonly [Lanes, Lanes, Lanes],
  ): void {
    const offset = (from.offset ?? 0) + (blocks === "Q8_0" ? part * 8 : (part % 2) * 8);
    this.#code.ldrd(to, this.#memory({ ...from, offset }, 8));
    if (blocks === "Q4_0") {
      if (part >= 2) this.#code.ushr4of16b(to, to);
      else this.#code.and(to, to, nibbles);
      this.#code.sub16b(to, to, eights);
    }
    this.#code.sxtl8h(to, to);
  }

  readWhole(to: Lanes, from: At, blocks: Blocks, high: boolean, [nibbles, eights]: readonly [Lanes, Lanes]): void {
    this.#code.ldrs(to, this.#memory(from, 4));
    if (blocks === "Q8_0") {
      this.#code.sxtl8h(to, to);
      this.#code.sxtl4s(to, to);
    } else {
      this.#code.uxtl8h(to, to);
      this.#code.uxtl4s(to, to);
      if (high) this.#code.ushr4of4s(to, to);
      else this.#code.and(to, to, nibbles);
      this.#code.sub4s(to, to, eights);
    }
    this.#code.scvtf(to, to);
  }

  lowerHalves(to: Lanes, from: Lanes): void {
    this.#code.shl(to, from, 16);
  }

  upperHalves(to: Lanes, from: Lanes): void {
    this.#code.ushr16(to, from);
    this.#code.shl(to, to, 16);
  }

  transpose(): Lanes[] {
    for (const row of [0, 2]) {
      this.#code.trn1(4 + row, row, row + 1);
      this.#code.trn2(5 + row, row, row + 1);
    }
    this.#code.trn1of2d(0, 4, 6);
    this.#code.trn1of2d(1, 5, 7);
    this.#code.trn2of2d(2, 4, 6);
    this.#code.trn2of2d(3, 5, 7);
    return [0, 1, 2, 3];
  }

  loadTransposed(rowAt: (row: number) => At): Lanes[] {
    for (let row = 0; row < this.lanes; row++) this.load(row, rowAt(row));
    return this.transpose();
  }

  /** Products of pairs of 16 bits, added within each lane. */
  #pairs(to: Lanes, a: Lanes, b: Lanes): void {
    const upper = this.registers - 1;
    this.#code.smull2(upper, a, b);
    this.#code.smull(to, a, b);
    this.#code.addp(to, to, upper);
  }

  /** An address that an instruction can have which moves so many bytes: a register and a small number of these. */
  #memory({ word: base, index, offset = 0 }: At, bytes: number): Arm64Memory {
    let register = word(base);
    if (index !== undefined) {
      this.#code.add(ADDRESS, register, word(index));
      register = ADDRESS;
    }
    if (offset % bytes === 0 && offset / bytes < 4096) return { base: register, offset };
    this.#code.movz(NUMBER, offset);
    this.#code.add(ADDRESS, register, NUMBER);
    return { base: ADDRESS, offset: 0 };
  }
}

function word(number: Word): number {
  if (number >= WORDS) throw new Error(`there is no word ${number}`);
  return FIRST_WORD + number;
}
