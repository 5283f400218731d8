/** A place in code that jumps lead to; it may be set after they have been written. */
export class Label {
  /** Bytes before it; undefined until it is placed. */
  at: number | undefined;
}

/** A jump whose distance is not known yet. */
interface Jump {
  readonly label: Label;
  readonly write: (distance: number) => void;
}

/** Machine code as it is written, byte after byte. */
export class Code {
  #bytes = new Uint8Array(2 ** 12);
  #length = 0;
  readonly #jumps: Jump[] = [];

  get length(): number {
    return this.#length;
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow();
    this.#bytes[this.#length++] = value;
  }

  bytes(values: readonly number[]): void {
    for (const value of values) this.byte(value);
  }

  /** 32 bits, the lowest byte first. */
  word(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.byte((value >>> shift) & 255);
  }

  /** Overwrites 32 bits. */
  patch(at: number, value: number): void {
    new DataView(this.#bytes.buffer).setInt32(at, value, true);
  }

  place(label: Label): void {
    if (label.at !== undefined) throw new Error("a label was placed twice");
    label.at = this.#length;
  }

  /** Calls `write` with the label's place when all of the code is there. */
  jump(label: Label, write: (target: number) => void): void {
    this.#jumps.push({ label, write });
  }

  /** Fills up with a byte until the length is a multiple of `bytes`. */
  align(bytes: number, value: number): void {
    while (this.#length % bytes !== 0) this.byte(value);
  }

  /** All of it, with the jumps' distances; what is written next begins anew. */
  finish(): Uint8Array<ArrayBuffer> {
    for (const { label, write } of this.#jumps.splice(0)) {
      if (label.at === undefined) throw new Error("a jump leads nowhere");
      write(label.at);
    }
    const bytes = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return bytes;
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}
