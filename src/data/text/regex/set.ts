import type { CharacterSet, Node } from "./syntax.ts";

const UNKNOWN = 0;
const OUT = 1;
const IN = 2;

/** Is a code point in a set? Asks the native expression once for each, and remembers. */
export class SetTest {
  /**
   * By UTF-16 unit: {@link UNKNOWN}, {@link OUT} or {@link IN}; surrogates that stand alone are code points, too. Small
   * until something else than ASCII comes: adapters may have thousands of patterns.
   */
  #units = new Uint8Array(0x80);
  readonly #others = new Map<number, boolean>();
  readonly #native: RegExp;

  constructor({ source, flags }: Pick<CharacterSet, "source" | "flags">) {
    this.#native = new RegExp(`^${source}$`, flags);
  }

  /** How many units a character of the set takes at `at`; 0 when there is none. */
  at(text: string, at: number): number {
    if (at >= text.length) return 0;
    const unit = text.charCodeAt(at);
    if ((unit & 0xfc00) === 0xd800 && at + 1 < text.length && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      return this.#hasPair(text.codePointAt(at) ?? 0) ? 2 : 0;
    }
    const known = this.#units[unit];
    if (known === undefined || known === UNKNOWN) return this.#findOut(unit) ? 1 : 0;
    return known === IN ? 1 : 0;
  }

  #findOut(unit: number): boolean {
    if (unit >= this.#units.length) this.#units = widened(this.#units, new Uint8Array(0x10000));
    const holds = this.#native.test(String.fromCharCode(unit));
    this.#units[unit] = holds ? IN : OUT;
    return holds;
  }

  #hasPair(codePoint: number): boolean {
    let holds = this.#others.get(codePoint);
    if (holds === undefined) {
      holds = this.#native.test(String.fromCodePoint(codePoint));
      this.#others.set(codePoint, holds);
    }
    return holds;
  }
}

/** What a small table holds in a larger one. */
export function widened<T extends Uint8Array | Int32Array>(small: T, large: T): T {
  large.set(small);
  return large;
}

/** Units of the character that begins at `at`. */
export function unitsAt(text: string, at: number): number {
  const high = (text.charCodeAt(at) & 0xfc00) === 0xd800;
  return high && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00 ? 2 : 1;
}

/** Units of the character that ends before `at`. */
export function unitsBefore(text: string, at: number): number {
  const low = (text.charCodeAt(at - 1) & 0xfc00) === 0xdc00;
  return low && at > 1 && (text.charCodeAt(at - 2) & 0xfc00) === 0xd800 ? 2 : 1;
}

/** More fit in no mask. */
export const MAX_BRANCHES = 30;
const KNOWN = 1 << 30;

/** What a match of a node can begin with; undefined when it may be empty, or begin with anything. */
export function firstSets(node: Node): readonly CharacterSet[] | undefined {
  switch (node.kind) {
    case "set":
      return [node];
    case "capture":
      return firstSets(node.body);
    case "choice": {
      const all = node.branches.map(firstSets);
      return all.some((sets) => sets === undefined) ? undefined : all.flatMap((sets) => sets ?? []);
    }
    case "repeat":
      return node.min > 0 ? firstSets(node.body) : undefined;
    case "sequence":
      return firstOfSequence(node.items);
    case "look":
    case "back":
    case "assertion":
      return undefined;
  }
}

function firstOfSequence(items: readonly Node[]): readonly CharacterSet[] | undefined {
  const sets: CharacterSet[] = [];
  for (const item of items) {
    // What takes no room only says more about what comes.
    if (item.kind === "look" || item.kind === "assertion") continue;
    if (item.kind === "repeat" && item.min === 0) {
      const inner = firstSets(item.body);
      if (inner === undefined) return undefined;
      sets.push(...inner);
      continue;
    }
    const inner = firstSets(item);
    return inner === undefined ? undefined : [...sets, ...inner];
  }
  return undefined;
}

/** Tells by the next character which branches can match at all, and remembers. */
export class Dispatch {
  readonly #branches: readonly (readonly SetTest[] | undefined)[];
  /** By UTF-16 unit that is no surrogate: {@link KNOWN} and a bit for each branch. ASCII alone at first. */
  #masks = new Int32Array(0x80);

  /** @param branches what each begins with; undefined: anything, and nothing */
  constructor(branches: readonly (readonly SetTest[] | undefined)[]) {
    this.#branches = branches;
  }

  /** A bit for each branch that can match at `at`. */
  mask(text: string, at: number): number {
    if (at >= text.length) return this.#find(text, at);
    const unit = text.charCodeAt(at);
    const known = this.#masks[unit] ?? 0;
    if (known !== 0) return known & ~KNOWN;
    const mask = this.#find(text, at);
    if ((unit & 0xf800) === 0xd800) return mask;
    if (unit >= this.#masks.length) this.#masks = widened(this.#masks, new Int32Array(0x10000));
    this.#masks[unit] = mask | KNOWN;
    return mask;
  }

  #find(text: string, at: number): number {
    let mask = 0;
    for (const [i, sets] of this.#branches.entries()) {
      if (sets === undefined || sets.some((set) => set.at(text, at) > 0)) mask |= 1 << i;
    }
    return mask;
  }
}
