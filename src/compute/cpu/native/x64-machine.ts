import { Label } from "./code.ts";
import { type At, type Count, type Lanes, type Machine, STORED_BYTES, type Stored, type Word } from "./machine.ts";
import { X64 } from "./x64.ts";
import {
  at,
  type General,
  type Memory,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  r8,
  r9,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  type Vector,
  xmm,
  ymm,
  zmm,
} from "./x64-encoding.ts";

/** The begin of the heap, and the arguments. */
const [HEAP, ARGUMENTS] = [rdi, rsi];
const WORDS: readonly General[] = [rax, rcx, rdx, rbx, rbp, r8, r9, r10, r11, r12, r13, r14, r15];
/** What belongs to the caller, by one convention or the other. */
const SAVED = [rbx, rbp, rdi, rsi, r12, r13, r14, r15];

/** x86-64 with AVX2 and FMA (8 lanes), or AVX-512 (16). */
export class X64Machine implements Machine {
  readonly lanes: 8 | 16;
  readonly registers: number;
  readonly words = WORDS.length;
  readonly tile: Machine["tile"];
  readonly squares: number;
  readonly #code = new X64();

  constructor(lanes: 8 | 16) {
    this.lanes = lanes;
    this.registers = lanes === 8 ? 16 : 32;
    this.squares = lanes === 8 ? 4 : 2;
    this.tile = lanes === 8 ? { rows: 6, vectors: 2 } : { rows: 14, vectors: 2 };
  }

  /**
   * What JavaScript calls: (begin of the heap, bytes to the arguments, address of a routine).
   * @param windows its convention passes them elsewhere, and has xmm6 to xmm15 kept
   */
  enter(windows: boolean): number {
    const code = this.#code;
    const begin = this.begin();
    const room = windows ? 10 * 16 : 0;
    for (const register of SAVED) code.push(register);
    // Eight pushes and the return address: another 8 bytes make whole vectors.
    code.sub(RSP, room + 8);
    for (let at16 = 0; at16 < room; at16 += 16) code.vmovups(at(RSP, at16), xmm(6 + at16 / 16));
    if (windows) {
      code.mov(rax, r8);
      code.mov(rdi, rcx);
      code.lea(rsi, at(rcx, 0, rdx));
    } else {
      code.mov(rax, rdx);
      code.lea(rsi, at(rdi, 0, rsi));
    }
    code.call(rax);
    code.vzeroupper();
    for (let at16 = 0; at16 < room; at16 += 16) code.vmovups(xmm(6 + at16 / 16), at(RSP, at16));
    code.add(RSP, room + 8);
    for (const register of SAVED.toReversed()) code.pop(register);
    this.end();
    return begin;
  }

  begin(): number {
    this.#code.align(16, 0xcc);
    return this.#code.length;
  }

  end(): void {
    this.#code.ret();
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#code.finish();
  }

  argument(to: Word, index: number): void {
    this.#code.movd(word(to), at(ARGUMENTS, index * 4));
  }

  address(to: Word, index: number): void {
    this.argument(to, index);
    this.#code.add(word(to), HEAP);
  }

  heap(to: Word): void {
    this.#code.mov(word(to), HEAP);
  }

  copy(to: Word, from: Word): void {
    this.#code.mov(word(to), word(from));
  }

  zeroWord(to: Word): void {
    this.#code.xor(word(to), word(to));
  }

  add(to: Word, what: Word | { readonly bytes: number }): void {
    this.#code.add(word(to), typeof what === "number" ? word(what) : what.bytes);
  }

  place(label: Label): void {
    this.#code.place(label);
  }

  steps(left: Word, step: number, body: () => void): void {
    const [again, done] = [new Label(), new Label()];
    this.#code.sub(word(left), step);
    this.#code.jb(done);
    this.#code.place(again);
    body();
    this.#code.sub(word(left), step);
    this.#code.jae(again);
    this.#code.place(done);
    this.#code.add(word(left), step);
  }

  zero(to: Lanes): void {
    this.#code.vxorps(this.#all(to), this.#all(to), this.#all(to));
  }

  load(to: Lanes, from: At, count: Count = "all"): void {
    if (count === "one") this.#code.vmovss(xmm(to), memory(from));
    else this.#code.vmovups(this.#vector(to, count), memory(from));
  }

  prefetch(from: At): void {
    this.#code.prefetcht0(memory(from));
  }

  store(from: Lanes, to: At, count: Count = "all"): void {
    if (count === "one") this.#code.vmovss(memory(to), xmm(from));
    else this.#code.vmovups(memory(to), this.#vector(from, count));
  }

  read(to: Lanes, from: At, stored: Stored, count: Count = "all"): void {
    if (STORED_BYTES[stored] === 4) return this.load(to, from, count);
    const vector = this.#vector(to, count);
    if (stored === "F16" && count !== "one") return this.#code.vcvtph2ps(vector, memory(from));
    // One number is in all lanes then.
    if (count === "one") this.#code.vpbroadcastw(vector, memory(from));
    else this.#code.vpmovzxwd(vector, memory(from));
    if (stored === "F16") this.#code.vcvtph2ps(vector, vector);
    else this.#code.vpslld(vector, vector, 16);
  }

  broadcast(to: Lanes, from: At): void {
    this.#code.vbroadcastss(this.#all(to), memory(from));
  }

  broadcastArgument(to: Lanes, index: number): void {
    this.#code.vbroadcastss(this.#all(to), at(ARGUMENTS, index * 4));
  }

  add32(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.vaddps(this.#all(to), this.#all(a), this.#all(b));
  }

  multiply(to: Lanes, a: Lanes, b: Lanes): void {
    this.#code.vmulps(this.#all(to), this.#all(a), this.#all(b));
  }

  fma(sum: Lanes, a: Lanes, b: Lanes): void {
    this.#code.vfmadd231ps(this.#all(sum), this.#all(a), this.#all(b));
  }

  lowerHalves(to: Lanes, from: Lanes): void {
    this.#code.vpslld(this.#all(to), this.#all(from), 16);
  }

  upperHalves(to: Lanes, from: Lanes): void {
    this.#code.vpsrld(this.#all(to), this.#all(from), 16);
    this.#code.vpslld(this.#all(to), this.#all(to), 16);
  }

  /** First within 128 bits, four rows at a time; then whole parts of 128 bits. */
  transpose(): Lanes[] {
    const { lanes } = this;
    const code = this.#code;
    const own = (lane: Lanes) => this.#all(lane);
    const other = (lane: Lanes) => this.#all(lanes + lane);
    for (let row = 0; row < lanes; row += 2) {
      code.vunpcklps(other(row), own(row), own(row + 1));
      code.vunpckhps(other(row + 1), own(row), own(row + 1));
    }
    for (let row = 0; row < lanes; row += 4) {
      code.vunpcklpd(own(row), other(row), other(row + 2));
      code.vunpckhpd(own(row + 1), other(row), other(row + 2));
      code.vunpcklpd(own(row + 2), other(row + 1), other(row + 3));
      code.vunpckhpd(own(row + 3), other(row + 1), other(row + 3));
    }
    const columns: Lanes[] = [];
    for (let col = 0; col < 4; col++) {
      const of = (four: number) => own(col + 4 * four);
      if (lanes === 8) {
        code.vperm2f128(other(col), of(0), of(1), 0x20);
        code.vperm2f128(other(col + 4), of(0), of(1), 0x31);
        columns[col] = lanes + col;
        columns[col + 4] = lanes + col + 4;
        continue;
      }
      const part = (at: number) => other(col + 4 * at);
      code.vshuff32x4(part(0), of(0), of(1), 0x88);
      code.vshuff32x4(part(1), of(0), of(1), 0xdd);
      code.vshuff32x4(part(2), of(2), of(3), 0x88);
      code.vshuff32x4(part(3), of(2), of(3), 0xdd);
      code.vshuff32x4(of(0), part(0), part(2), 0x88);
      code.vshuff32x4(of(2), part(0), part(2), 0xdd);
      code.vshuff32x4(of(1), part(1), part(3), 0x88);
      code.vshuff32x4(of(3), part(1), part(3), 0xdd);
      for (let four = 0; four < 4; four++) columns[col + 4 * four] = col + 4 * four;
    }
    return columns;
  }

  #all(lane: Lanes): Vector {
    return this.lanes === 8 ? ymm(lane) : zmm(lane);
  }

  #vector(lane: Lanes, count: Count): Vector {
    return count === "all" ? this.#all(lane) : xmm(lane);
  }
}

const RSP: General = { general: 4 };

function word(number: Word): General {
  const register = WORDS[number];
  if (register === undefined) throw new Error(`there is no word ${number}`);
  return register;
}

function memory({ word: base, index, offset = 0 }: At): Memory {
  return at(word(base), offset, index === undefined ? undefined : word(index));
}
