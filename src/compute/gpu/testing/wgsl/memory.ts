/** Where invocations are: in which dispatch, workgroup and phase between barriers, and who runs. */
export interface Clock {
  /** The running invocation of the dispatch, from 0. */
  invocation: number;
  /** The first phase of the running dispatch, of its running workgroup, and the running phase; they only ever grow. */
  dispatch: number;
  workgroup: number;
  phase: number;
}

/** Receives what is wrong. */
export type Report = (what: string, line: number) => void;

/** Several invocations. */
const MANY = -2;

/**
 * Words of memory that a shader reads and writes, with who did last and when. Of two accesses of one word by different
 * invocations with no barrier between them, one of which writes, each order is reported, whichever ran first here.
 */
export class CheckedMemory {
  readonly floats: Float32Array;
  readonly words: Uint32Array;
  readonly integers: Int32Array;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #report: Report;
  /** Who wrote and read a word last, and in which phase; undefined for memory that nobody writes. */
  readonly #writer: Int32Array | undefined;
  readonly #written: Int32Array;
  readonly #reader: Int32Array;
  readonly #read: Int32Array;
  readonly #isFresh: boolean;

  /** @param kind fresh: workgroup memory, which a workgroup must write before it reads it; readonly: nobody writes it */
  constructor(
    name: string,
    bytes: { readonly buffer: ArrayBuffer; readonly offset: number; readonly size: number },
    kind: "fresh" | "writable" | "readonly",
    clock: Clock,
    report: Report,
  ) {
    const { buffer, offset, size } = bytes;
    const length = Math.floor(size / 4);
    this.#name = name;
    this.#clock = clock;
    this.#report = report;
    this.floats = new Float32Array(buffer, offset, length);
    this.words = new Uint32Array(buffer, offset, length);
    this.integers = new Int32Array(buffer, offset, length);
    this.#isFresh = kind === "fresh";
    const shadow = kind === "readonly" ? 0 : length;
    this.#writer = shadow === 0 ? undefined : new Int32Array(shadow);
    this.#written = new Int32Array(shadow);
    this.#reader = new Int32Array(shadow);
    this.#read = new Int32Array(shadow);
  }

  /** Where element `index` of `count` is, or of as many as there are; beyond the end the last, as drivers hold indices back. */
  at(base: number, index: number, stride: number, count: number | undefined, line: number): number {
    const there = count ?? Math.floor((this.words.length - base) / stride);
    if (index >= 0 && index < there) return base + index * stride;
    this.#report(`${this.#name}[${index}] is beyond the end, ${there} elements`, line);
    return base + Math.max(0, there - 1) * stride;
  }

  /** Notes a read of `count` words from `at` on, and gives the first one's place. */
  reads(at: number, count: number, line: number): number {
    if (this.#writer === undefined) return at;
    const { invocation, dispatch, workgroup, phase } = this.#clock;
    for (let word = at; word < at + count; word++) {
      const written = this.#written[word] ?? 0;
      if (written >= dispatch && this.#writer[word] !== invocation && (written < workgroup || written === phase)) {
        this.#race("reads", "another wrote", word, line);
      }
      if (this.#isFresh && written < workgroup)
        this.#report(`${this.#name}: word ${word} is read and was never written`, line);
      const read = this.#read[word] ?? 0;
      if (read === phase && this.#reader[word] !== invocation) this.#reader[word] = MANY;
      else if (read < dispatch || read >= workgroup) {
        this.#read[word] = phase;
        this.#reader[word] = invocation;
      }
    }
    return at;
  }

  /** Notes an atomic change, which races with no other; a read of it needs a barrier between all the same. */
  changes(at: number): number {
    if (this.#writer === undefined) throw new Error(`${this.#name} is read-only`);
    const { invocation, phase } = this.#clock;
    this.#writer[at] = this.#written[at] === phase && this.#writer[at] !== invocation ? MANY : invocation;
    this.#written[at] = phase;
    return at;
  }

  /** Notes a write. */
  writes(at: number, count: number, line: number): number {
    if (this.#writer === undefined) throw new Error(`${this.#name} is read-only`);
    const { invocation, dispatch, workgroup, phase } = this.#clock;
    for (let word = at; word < at + count; word++) {
      const written = this.#written[word] ?? 0;
      if (written >= dispatch && this.#writer[word] !== invocation && (written < workgroup || written === phase)) {
        this.#race("writes", "another wrote", word, line);
      }
      const read = this.#read[word] ?? 0;
      if (read >= dispatch && this.#reader[word] !== invocation && (read < workgroup || read === phase)) {
        this.#race("writes", "another read", word, line);
      }
      this.#written[word] = phase;
      this.#writer[word] = invocation;
    }
    return at;
  }

  #race(does: string, did: string, word: number, line: number): void {
    const { invocation } = this.#clock;
    this.#report(
      `race: invocation ${invocation} ${does} word ${word} of ${this.#name}, which ${did} with no barrier between`,
      line,
    );
  }
}
