import { Label } from "./code.ts";
import type { At, Word } from "./machine.ts";
import { X64 } from "./x64.ts";
import {
  at,
  type General,
  type Memory,
  type Near,
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
  rsp,
  xmm,
} from "./x64-encoding.ts";

/** The begin of the heap, and the arguments. */
const [HEAP, ARGUMENTS] = [rdi, rsi];
const WORDS: readonly General[] = [rax, rcx, rdx, rbx, rbp, r8, r9, r10, r11, r12, r13, r14, r15];
/** What belongs to the caller, by one convention or the other. */
const SAVED = [rbx, rbp, rdi, rsi, r12, r13, r14, r15];

/** What of a machine has to do with general registers: calls, arguments, loops. */
export abstract class X64Words {
  readonly words = WORDS.length;
  protected readonly code = new X64();
  readonly #constants = new Map<number, Label>();

  /**
   * What JavaScript calls: (begin of the heap, bytes to the arguments, address of a routine).
   * Of 32-bit arguments the upper halves may hold anything.
   * @param windows its convention passes them elsewhere, and has xmm6 to xmm15 kept
   */
  enter(windows: boolean): void {
    const code = this.code;
    const room = windows ? 10 * 16 : 0;
    for (const register of SAVED) code.push(register);
    // Eight pushes and the return address: another 8 bytes make whole vectors.
    code.sub(rsp, room + 8);
    for (let at16 = 0; at16 < room; at16 += 16) code.vmovups(at(rsp, at16), xmm(6 + at16 / 16));
    if (windows) {
      code.mov(rax, r8);
      code.mov(rdi, rcx);
      code.movl(rdx, rdx);
      code.lea(rsi, at(rcx, 0, rdx));
    } else {
      code.mov(rax, rdx);
      code.movl(rsi, rsi);
      code.lea(rsi, at(rdi, 0, rsi));
    }
    code.call(rax);
    code.vzeroupper();
    for (let at16 = 0; at16 < room; at16 += 16) code.vmovups(xmm(6 + at16 / 16), at(rsp, at16));
    code.add(rsp, room + 8);
    for (const register of SAVED.toReversed()) code.pop(register);
    this.end();
  }

  end(): void {
    this.code.ret();
    this.code.align(4, 0xcc);
    for (const [bits, label] of this.#constants) {
      this.code.place(label);
      this.code.word(bits);
    }
    this.#constants.clear();
  }

  /** Where a word lies behind the routine. */
  protected constantAt(bits: number): Near {
    const near = this.#constants.get(bits) ?? new Label();
    this.#constants.set(bits, near);
    return { near };
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.code.finish();
  }

  argument(to: Word, index: number): void {
    this.code.movd(word(to), at(ARGUMENTS, index * 4));
  }

  argumentBehind(to: Word, index: number, bytes: Word): void {
    this.code.movd(word(to), at(ARGUMENTS, index * 4, word(bytes)));
  }

  address(to: Word, index: number): void {
    this.argument(to, index);
    this.code.add(word(to), HEAP);
  }

  heap(to: Word): void {
    this.code.mov(word(to), HEAP);
  }

  copy(to: Word, from: Word): void {
    this.code.mov(word(to), word(from));
  }

  zeroWord(to: Word): void {
    this.code.xor(word(to), word(to));
  }

  loadWord(to: Word, from: At): void {
    this.code.movd(word(to), memory(from));
  }

  loadWords(first: Word, second: Word, from: At): void {
    this.code.mov(word(second), memory(from));
    this.code.movl(word(first), word(second));
    this.code.shr(word(second), 32);
  }

  add(to: Word, what: Word | { readonly bytes: number }): void {
    this.code.add(word(to), typeof what === "number" ? word(what) : what.bytes);
  }

  steps(left: Word, step: number, body: () => void): void {
    const [again, done] = [new Label(), new Label()];
    this.code.sub(word(left), step);
    this.code.jb(done);
    this.code.place(again);
    body();
    this.code.sub(word(left), step);
    this.code.jae(again);
    this.code.place(done);
    this.code.add(word(left), step);
  }

  take(to: Word, left: Word, most: number): void {
    const done = new Label();
    this.zeroWord(to);
    this.code.add(word(to), most);
    this.code.sub(word(left), most);
    this.code.jae(done);
    this.code.add(word(to), word(left));
    this.zeroWord(left);
    this.code.place(done);
  }

  protected placeOf(index: number): Memory {
    return at(ARGUMENTS, index * 4);
  }
}

function word(number: Word): General {
  const register = WORDS[number];
  if (register === undefined) throw new Error(`there is no word ${number}`);
  return register;
}

/** An address as an operand. */
export function memory({ word: base, index, offset = 0 }: At): Memory {
  return at(word(base), offset, index === undefined ? undefined : word(index));
}
