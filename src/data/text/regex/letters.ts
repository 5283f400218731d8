/** Pairs that are remembered. */
const MOST_KNOWN = 4096;

/** Compares texts without case as native expressions do: they are asked once for each pair of characters. */
export class Letters {
  /** How often an expression had to be compiled. */
  asked = 0;
  readonly #known = new Map<number, boolean>();

  /** @param a as long as `b`, in UTF-16 units */
  same(a: string, b: string): boolean {
    for (let at = 0; at < a.length;) {
      const left = a.codePointAt(at) ?? 0;
      const right = b.codePointAt(at) ?? 0;
      if (left !== right && !this.#sameLetter(left, right)) return false;
      at += left > 0xffff ? 2 : 1;
    }
    return true;
  }

  #sameLetter(left: number, right: number): boolean {
    const pair = left * 0x110000 + right;
    let same = this.#known.get(pair);
    if (same === undefined) {
      this.asked++;
      same = new RegExp(`^\\u{${left.toString(16)}}$`, "iu").test(String.fromCodePoint(right));
      if (this.#known.size >= MOST_KNOWN) this.#known.clear();
      this.#known.set(pair, same);
    }
    return same;
  }
}
