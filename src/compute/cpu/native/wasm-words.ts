import type { At, Word } from "./machine.ts";
import { WasmCode } from "./wasm-code.ts";

/** The argument: where the list of arguments begins. */
const ARGUMENTS = 0;
const [FIRST_WORD, WORDS] = [1, 24];
/** The first local that is no word. */
export const FIRST_LANES = FIRST_WORD + WORDS;

/** What of a machine has to do with words: arguments, addresses, loops. Words are locals, and the begin of the heap is 0. */
export abstract class WasmWords {
  readonly words = WORDS;
  protected readonly code = new WasmCode();

  /** A function ends with its text. */
  end(): void {}

  argument(to: Word, index: number): void {
    this.code.get(ARGUMENTS);
    this.code.load(index * 4);
    this.code.set(word(to));
  }

  argumentBehind(to: Word, index: number, bytes: Word): void {
    this.code.get(ARGUMENTS);
    this.code.get(word(bytes));
    this.code.op("add");
    this.code.load(index * 4);
    this.code.set(word(to));
  }

  address(to: Word, index: number): void {
    this.argument(to, index);
  }

  heap(to: Word): void {
    this.zeroWord(to);
  }

  copy(to: Word, from: Word): void {
    this.code.get(word(from));
    this.code.set(word(to));
  }

  zeroWord(to: Word): void {
    this.code.const(0);
    this.code.set(word(to));
  }

  loadWord(to: Word, from: At): void {
    this.code.load(this.at(from));
    this.code.set(word(to));
  }

  loadWords(first: Word, second: Word, from: At): void {
    this.loadWord(second, { ...from, offset: (from.offset ?? 0) + 4 });
    this.loadWord(first, from);
  }

  add(to: Word, what: Word | { readonly bytes: number }): void {
    this.code.get(word(to));
    if (typeof what === "number") this.code.get(word(what));
    else this.code.const(what.bytes);
    this.code.op("add");
    this.code.set(word(to));
  }

  steps(left: Word, step: number, body: () => void): void {
    const isThere = (): void => {
      this.code.get(word(left));
      this.code.const(step);
      this.code.op("atLeast");
    };
    isThere();
    this.code.when(() =>
      this.code.loop(() => {
        this.add(left, { bytes: -step });
        body();
        isThere();
      }),
    );
  }

  take(to: Word, left: Word, most: number): void {
    this.code.get(word(left));
    this.code.const(most);
    this.code.get(word(left));
    this.code.const(most);
    this.code.op("below");
    this.code.op("select");
    this.code.set(word(to));
    this.code.get(word(left));
    this.code.get(word(to));
    this.code.op("sub");
    this.code.set(word(left));
  }

  /** Puts the place of an argument on the stack. @returns how far behind that it is */
  protected placeOf(index: number): number {
    this.code.get(ARGUMENTS);
    return index * 4;
  }

  /** Puts what of an address is no part of an instruction on the stack. @returns what is */
  protected at({ word: base, index, offset = 0 }: At): number {
    this.code.get(word(base));
    if (index !== undefined) {
      this.code.get(word(index));
      this.code.op("add");
    }
    if (offset >= 0) return offset;
    this.code.const(offset);
    this.code.op("add");
    return 0;
  }
}

function word(number: Word): number {
  if (number >= WORDS) throw new Error(`there is no word ${number}`);
  return FIRST_WORD + number;
}
