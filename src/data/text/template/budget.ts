/** What a template may not do: too many steps, too long a text, too deep in itself. */
export class LimitError extends Error {}

/** A step is an expression or a statement, an element of a list that is walked through, or 16 characters of a text. */
const FREE_STEPS = 4_000_000;
/** Further steps for each value of the input, and for each 16 characters. */
const STEPS_A_VALUE = 256;
/** Characters of any text that a template makes, and further ones for each of the input. */
const FREE_TEXT = 4_000_000;
const TEXT_A_CHARACTER = 16;
/** Expressions and statements in each other, macros' own counted; a fifth of what the stack has room for. */
const MAX_DEPTH = 1500;
/** Of values in each other: what writes them out calls itself. */
const MAX_NESTING = 250;

/** Lists and objects, as the interpreter and as JavaScript have them. */
type Container = ReadonlyMap<string, unknown> | readonly unknown[];

/** How large a value is, all that it holds included. */
export interface Size {
  values: number;
  characters: number;
  depth: number;
}

/**
 * What one rendering may use. Templates come with models: one may loop for ever, or double a text until memory is full. The
 * limits follow what is rendered, so that long conversations are far from them.
 */
export class Budget {
  /** No text may be longer, in UTF-16 units. */
  readonly mostText: number;
  #steps: number;
  #depth = 0;

  /** @param variables what the template is given */
  constructor(variables: unknown) {
    const { values, characters } = measure(variables);
    this.#steps = FREE_STEPS + STEPS_A_VALUE * (values + characters / 16);
    this.mostText = FREE_TEXT + TEXT_A_CHARACTER * characters;
  }

  spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw new LimitError("it takes too many steps");
  }

  enter(): void {
    if (++this.#depth > MAX_DEPTH) throw new LimitError(`it is nested, or calls itself, more than ${MAX_DEPTH} deep`);
    this.spend(1);
  }

  /** Expressions and statements that stand around the present one. */
  get depth(): number {
    return this.#depth;
  }

  leave(): void {
    this.#depth--;
  }

  /** A text of this length is about to be made, or has been. */
  allowText(length: number): void {
    if (length > this.mostText) throw new LimitError(`it makes a text of more than ${this.mostText} characters`);
  }

  /** Pays for everything that a value holds: it is written out. */
  payWhole(value: unknown): Size {
    const size = measure(value, this.#steps);
    this.spend(size.values + size.characters / 16);
    return size;
  }
}

/**
 * Sums a value up, what occurs twice twice, as whoever writes it out does.
 * @throws LimitError beyond `most` steps, or nested too deeply
 */
export function measure(value: unknown, most = Infinity): Size {
  const size: Size = { values: 0, characters: 0, depth: 0 };
  const visit = (item: unknown, depth: number): void => {
    if (depth > MAX_NESTING) throw new LimitError(`a value is nested more than ${MAX_NESTING} deep`);
    size.depth = Math.max(size.depth, depth);
    if (++size.values + size.characters / 16 > most) throw new LimitError("it takes too many steps");
    const plain = plainValue(item);
    if (typeof plain === "string") size.characters += plain.length;
    else if (Array.isArray(plain)) for (const inner of plain) visit(inner, depth + 1);
    else if (typeof plain === "object" && plain !== null) {
      for (const [key, inner] of plain instanceof Map ? plain : Object.entries(plain)) {
        size.characters += String(key).length;
        visit(inner, depth + 1);
      }
    }
  };
  visit(value, 0);
  return size;
}

/** The value within one of the interpreter's. */
export function plainValue(value: unknown): unknown {
  return isRuntimeValue(value) ? value.value : value;
}

function isRuntimeValue(value: unknown): value is { readonly value: unknown } {
  if (typeof value !== "object" || value === null || !("type" in value && "value" in value)) return false;
  // A JSON object may have the same two keys.
  return Object.getPrototypeOf(value) !== Object.prototype && typeof value.type === "string";
}

export function isContainer(plain: unknown): plain is Container {
  return plain instanceof Map || Array.isArray(plain);
}

/** Elements of a list or an object, 16 characters of a text each; 0 for anything else. */
export function elements(plain: unknown): number {
  if (typeof plain === "string") return plain.length / 16;
  if (Array.isArray(plain)) return plain.length;
  return plain instanceof Map ? plain.size : 0;
}
