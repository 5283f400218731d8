import type { Interpreter } from "@huggingface/jinja";

/** What a template may not do: too many steps, too long a text, too deep in itself. */
export class LimitError extends Error {}

/**
 * What is free, whatever is rendered: steps, and characters of any text that a template makes. A step is an expression or a
 * statement, 16 characters of a text, or 4 elements of a list that is made.
 */
export const FREE = { steps: 4_000_000, text: 4_000_000 };
/** Steps for each value in a list or an object that something reads whole: what is written out is read character by character, a table takes a microsecond for each, and sorting looks at each many times. */
const STEPS_A_PART = { printed: 1, compared: 1, operand: 1 / 64, spread: 1 / 64, arranged: 4, receiver: 0, loop: 0 };
/** Steps for each element of what is walked through: a round makes a scope and a table of ten values. */
const STEPS_A_ROUND = 6;
/** Further steps for each value of the input, and for each 16 characters. */
const STEPS_A_VALUE = 256;
/** Further characters of any text for each of the input. */
const TEXT_A_CHARACTER = 16;
/** What one filter or call may have to do, for each character of the longest text: as many texts are read as others are long. */
const WORK_A_CHARACTER = 64;
/** Expressions and statements in each other, macros' own counted; a fifth of what the stack has room for. */
const MAX_DEPTH = 1500;
/** Of values in each other: what writes them out calls itself. */
const MAX_NESTING = 250;

/**
 * What one rendering may use. Templates come with models: one may loop for ever, or double a text until memory is full. The
 * limits follow what is rendered, so that long conversations are far from them.
 */
export class Budget {
  readonly #mostText: number;
  #steps: number;
  #depth = 0;
  /** Of lists and objects that do not change any more. */
  readonly #sizes = new WeakMap<object, number>();

  /** @param variables what the template is given */
  constructor(variables: unknown, free = FREE) {
    const size = measure(variables);
    this.#steps = free.steps + STEPS_A_VALUE * size;
    this.#mostText = free.text + TEXT_A_CHARACTER * 16 * size;
  }

  enter(steps: number): void {
    if (++this.#depth > MAX_DEPTH) throw new LimitError(`it is nested, or calls itself, more than ${MAX_DEPTH} deep`);
    this.#spend(steps);
  }

  leave(): void {
    this.#depth--;
  }

  /** Refuses one filter or call whose operands make so much work: `replace` of a long text by a long one, `indent` by 10^9. */
  allow(work: number): void {
    if (work > WORK_A_CHARACTER * this.#mostText) throw new LimitError("it takes too many steps");
  }

  /** Pays for a value that was made, or looked up. @param role what becomes of it; undefined: it is only looked at */
  take(value: object, role: Role | undefined): void {
    const plain = plainValue(value);
    if (typeof plain === "string") {
      if (plain.length > this.#mostText)
        throw new LimitError(`it makes a text of more than ${this.#mostText} characters`);
      this.#spend(plain.length / 16);
    } else if (isContainer(plain) && (role !== undefined || !isNamespace(value))) {
      const isNew = !this.#sizes.has(plain);
      // Written out it may be far larger than it is in memory, and is refused before that.
      const size = measure(value, Math.min(this.#steps, this.#mostText / 4), this.#sizes);
      const length = plain instanceof Map ? plain.size : plain.length;
      const read = role === undefined ? 0 : STEPS_A_PART[role] * size + (role === "loop" ? STEPS_A_ROUND * length : 0);
      this.#spend((isNew ? length / 4 : 0) + read);
    }
  }

  /** Characters, of lists and objects all that is in them; a number itself, as it may be a width. */
  sizeOf(value: unknown): number {
    const plain = plainValue(value);
    if (typeof plain === "string") return Math.max(plain.length, 1);
    if (typeof plain === "number") return Math.max(plain, 1);
    return isContainer(plain) ? 16 * measure(value, this.#mostText / 4, this.#sizes) : 1;
  }

  #spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw new LimitError("it takes too many steps");
  }
}

/**
 * Sums a value up, each value and each 16 characters as 1; what occurs twice twice, as whoever writes it out does.
 * @param known sizes that need not be found again
 * @throws LimitError beyond `most`, or nested too deeply
 */
export function measure(value: unknown, most = Infinity, known = new WeakMap<object, number>()): number {
  let changing = 0;
  const visit = (item: unknown, depth: number): number => {
    if (depth > MAX_NESTING) throw new LimitError(`a value is nested more than ${MAX_NESTING} deep`);
    const plain = plainValue(item);
    if (typeof plain === "string") return 1 + plain.length / 16;
    if (typeof plain !== "object" || plain === null) return 1;
    const before = known.get(plain);
    if (before !== undefined) return before;
    const changingBefore = changing;
    let size = 1;
    const add = (inner: unknown, key = ""): void => {
      size += visit(inner, depth + 1) + key.length / 16;
      if (size > most) throw new LimitError("it takes too many steps");
    };
    // Lists are long: their numbers are not made texts of.
    if (Array.isArray(plain)) for (const inner of plain) add(inner);
    else for (const [key, inner] of plain instanceof Map ? plain : Object.entries(plain)) add(inner, String(key));
    // Namespaces alone change.
    if (isNamespace(item)) changing++;
    if (changing === changingBefore) known.set(plain, size);
    return size;
  };
  return visit(value, 0);
}

function isNamespace(value: unknown): boolean {
  return value instanceof Object && "type" in value && value.type === "NamespaceValue";
}

/** The value within one of the interpreter's. */
function plainValue(value: unknown): unknown {
  return isRuntimeValue(value) ? value.value : value;
}

function isRuntimeValue(value: unknown): value is { readonly value: unknown } {
  if (typeof value !== "object" || value === null || !("type" in value && "value" in value)) return false;
  // A JSON object may have the same two keys.
  return Object.getPrototypeOf(value) !== Object.prototype && typeof value.type === "string";
}

export function isContainer(plain: unknown): plain is Map<unknown, unknown> | unknown[] {
  return plain instanceof Map || Array.isArray(plain);
}

export type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;

/**
 * What becomes of the value of a node: it is written out, walked through, compared, read with all that is in it (`spread`: each of its
 * elements is; `arranged`: each is put into a table, or into its place among the others), or its methods may be asked for.
 */
export type Role = "printed" | "loop" | "compared" | "operand" | "spread" | "arranged" | "receiver";

/** Filters that do the same whatever the size of what they are given. */
const CONSTANT = new Set(["length", "first", "last", "list", "default", "int", "float", "safe"]);

/** What becomes of the operand of a filter, where that is not an `operand`. */
const FILTERED: ReadonlyMap<string, Role> = new Map([
  ["string", "printed"],
  ["unique", "arranged"],
  ["sort", "arranged"],
]);

/** The roles of a program's nodes, each of which has one; the value of any other node is only looked at. Its filter blocks become expressions. */
export function rolesOf(program: Node): ReadonlyMap<unknown, Role> {
  const roles = new Map<unknown, Role>();
  const left: unknown[] = [program];
  while (left.length > 0) {
    const node = left.pop();
    if (node instanceof Map) for (const pair of node) left.push(pair);
    else if (Array.isArray(node)) for (const item of node) left.push(item);
    else if (typeof node === "object" && node !== null) {
      if (isOf(node, "FilterStatement")) asExpression(node, program);
      for (const [part, role] of partsOf(node)) roles.set(part, role);
      left.push(Object.values(node));
    }
  }
  return roles;
}

function* partsOf(node: object): Generator<readonly [part: unknown, role: Role]> {
  for (const name of ["body", "alternate", "defaultBlock"]) {
    const statements = field(node, name);
    if (Array.isArray(statements)) for (const statement of statements) yield [statement, "printed"];
  }
  const iterable = field(node, "iterable");
  if (iterable !== undefined) yield [isOf(iterable, "SelectExpression") ? field(iterable, "lhs") : iterable, "loop"];
  if (isOf(node, "MemberExpression")) yield [field(node, "object"), "receiver"];
  if (isOf(node, "BinaryExpression")) {
    const role = OPERATORS[String(field(field(node, "operator"), "value"))];
    if (role !== undefined) yield* [[field(node, "left"), role] as const, [field(node, "right"), role] as const];
  }
  if (isOf(node, "FilterExpression")) yield* filtered(node);
}

const OPERATORS: Readonly<Record<string, Role>> = {
  "~": "printed",
  "==": "compared",
  "!=": "compared",
  in: "operand",
  "not in": "operand",
};

function* filtered(node: object): Generator<readonly [part: unknown, role: Role]> {
  const filter = field(node, "filter");
  const name = String(field(field(filter, "callee") ?? filter, "value"));
  if (CONSTANT.has(name)) return;
  yield [field(node, "operand"), FILTERED.get(name) ?? "operand"];
  const given = field(filter, "args");
  for (const part of Array.isArray(given) ? given : []) {
    if (isOf(part, "KeywordArgumentExpression")) yield [field(part, "value"), "operand"];
    else if (String(field(part, "type")).endsWith("SpreadExpression")) yield [field(part, "argument"), "spread"];
    else yield [part, "operand"];
  }
}

/** `{% filter f %}…{% endfilter %}` is made what `{{ … | f }}` is, of which no more need be known. */
function asExpression(filterBlock: object, program: Node): void {
  const body = { type: "Program", body: field(filterBlock, "body") };
  const operand: unknown = Object.assign(Object.create(Object.getPrototypeOf(program)), body);
  Object.assign(filterBlock, { type: "FilterExpression", operand, body: undefined });
}

function isOf(node: unknown, type: string): boolean {
  return field(node, "type") === type;
}

/** A property of a node of any kind; undefined where it has none. */
export function field(node: unknown, name: string): unknown {
  return typeof node === "object" && node !== null ? Reflect.get(node, name) : undefined;
}
