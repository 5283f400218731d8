import { type Budget, elements, isContainer, plainValue, type Size } from "./budget.ts";

/** A statement or an expression: the library exports no types of them. */
export interface Node {
  readonly type: string;
}

/** A node that is being evaluated, and what is known of its parts. */
export interface Frame {
  readonly node: Node;
  /** What a filter, an operator or a member is applied to. */
  operand: unknown;
  /** The operand of a filter that writes all of it out. */
  size: Size | undefined;
  /** Arguments, and what they hold where they may be unpacked. */
  readonly given: unknown[];
  /** A call's parts from here on are its macro's body, a filter statement's its arguments. */
  isApplied: boolean;
  /** Length of what its block has written so far. */
  written: number;
}

/** Each round of a loop makes a scope and a table of ten values. */
const STEPS_A_ROUND = 6;
/** Filters that look at no more than one element. */
const CHEAP = new Set(["first", "last", "length", "list", "default", "safe"]);
/** Filters that write all of a value out, or compare all of it. */
const WHOLE = new Set(["tojson", "join", "string", "sort", "dictsort", "unique"]);
/** Functions take few arguments: what is unpacked behind these is not looked at. */
const MOST_ARGUMENTS = 16;

/**
 * Charges what the interpreter does natively. To it a filter, an operator or a method is one step, which may read millions
 * of elements, search in a time that is the product of two lengths, or make a text of gigabytes: the number of steps and
 * the length of what was made bound neither. Charged is what goes in; a text is refused before it is made.
 */
export class Costs {
  readonly #budget: Budget;
  /** The texts that methods belong to. */
  readonly #receivers = new WeakMap<object, string>();
  /** Nodes in each macro: defining one walks through them. */
  readonly #sizes = new WeakMap<object, number>();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  before(node: Node): void {
    const { type } = node;
    if (type === "Identifier") this.#budget.spend(this.#budget.depth >> 5); // scopes are searched one by one
    if (type === "Break" || type === "Continue") this.#budget.spend(20);
    if (type !== "Macro" && type !== "CallStatement") return;
    const size = this.#sizes.get(node) ?? countNodes(node);
    this.#sizes.set(node, size);
    this.#budget.spend(size);
  }

  /** @param plain what the `value` of the node holds */
  after({ node, operand }: Frame, value: object, plain: unknown): void {
    const { type } = node;
    if (typeof plain === "string") this.#budget.allowText(plain.length);
    // An unknown name costs an exception, a method or a length a table of all methods.
    const isMember = type === "MemberExpression";
    if (isMember ? /^(undefined|function|number)$/.test(typeof plain) : type === "Identifier" && plain === undefined)
      this.#budget.spend(16);
    if (isMember && typeof plain === "function" && typeof operand === "string") this.#receivers.set(value, operand);
    const isFresh = type === "CallExpression" || (type === "FilterExpression" && !CHEAP.has(filterName(node)));
    if (isFresh && Array.isArray(plain)) this.#budget.spend(2 * plain.length);
  }

  /** Charges what a node does with a part of it. */
  part(frame: Frame, part: Node, value: object, plain: unknown): void {
    const { node } = frame;
    const is = (name: string): boolean => field(node, name) === part;
    switch (node.type) {
      case "For": {
        const isIterable = is("iterable") || field(field(node, "iterable"), "lhs") === part;
        if (isIterable) this.#budget.spend(STEPS_A_ROUND * elements(plain));
        else this.#write(frame, plain);
        return;
      }
      case "If":
        if (!is("test")) this.#write(frame, plain);
        return;
      case "Set":
        if (!is("value") && field(field(node, "assignee"), "object") !== part) this.#write(frame, plain);
        return;
      case "Program":
      case "CallStatement":
        this.#write(frame, plain);
        return;
      case "FilterExpression":
        if (is("operand")) this.#filter(frame, plain);
        else this.#give(frame, plain);
        return;
      case "FilterStatement": {
        const body = field(node, "body");
        frame.isApplied ||= !Array.isArray(body) || body.length === 0;
        if (frame.isApplied) return this.#give(frame, plain);
        this.#write(frame, plain);
        this.#budget.spend(elements(plain));
        if (typeof plain === "string")
          frame.operand = typeof frame.operand === "string" ? frame.operand + plain : plain;
        frame.isApplied = Array.isArray(body) && body.at(-1) === part;
        return;
      }
      case "CallExpression":
        if (frame.isApplied) return this.#write(frame, plain);
        frame.isApplied = is("callee");
        if (frame.isApplied) this.#call(this.#receivers.get(value), frame.given);
        else this.#give(frame, plain);
        return;
      case "BinaryExpression":
        if (is("left")) frame.operand = plain;
        else this.#operate(String(field(field(node, "operator"), "value")), frame.operand, plain);
        return;
      case "MemberExpression":
        // A text that was put together is written out when a key is looked up; of a slice a list is made.
        if (is("object")) frame.operand = plain;
        if (field(field(node, "property"), "type") === "SliceExpression") this.#budget.spend(2 * elements(plain));
        else if (typeof plain === "string") this.#budget.spend(elements(plain) / 4);
        return;
      case "TestExpression":
      case "ObjectLiteral":
        if (typeof plain === "string") this.#budget.spend(elements(plain));
    }
  }

  /** What stands in a block is written into its text. */
  #write(frame: Frame, plain: unknown): void {
    this.#spell(plain);
    if (typeof plain === "string") this.#budget.allowText((frame.written += plain.length));
  }

  /** Lists and objects become texts. */
  #spell(plain: unknown): void {
    if (isContainer(plain)) this.#budget.payWhole(plain);
  }

  #filter(frame: Frame, plain: unknown): void {
    const name = filterName(frame.node);
    frame.operand = plain;
    if (WHOLE.has(name)) frame.size = this.#budget.payWhole(plain);
    if (!CHEAP.has(name)) this.#budget.spend((name.endsWith("sort") ? 16 : 1) * elements(plain));
  }

  /** An argument, of which a filter's may be what its result is too long by. */
  #give(frame: Frame, plain: unknown, depth = 0): void {
    frame.given.push(plain);
    if (typeof plain === "string") this.#budget.spend(elements(plain));
    if (isContainer(plain) && depth < 2) {
      const few = Array.isArray(plain) ? plain.slice(0, MOST_ARGUMENTS) : [...plain.values()];
      this.#budget.spend(few.length);
      for (const each of few) this.#give(frame, plainValue(each), depth + 1);
    }
    if (depth === 0 && frame.node.type !== "CallExpression") this.#grow(frame);
  }

  #grow({ node, operand, size, given }: Frame): void {
    const name = filterName(node);
    const longest = given.reduce<number>((most, one) => Math.max(most, typeof one === "string" ? one.length : 0), 0);
    const width = given.reduce<number>((most, one) => Math.max(most, typeof one === "number" ? one : 0), 0);
    const budget = this.#budget;
    if (name === "replace" && typeof operand === "string") this.#call(operand, given);
    if (name === "join") budget.allowText((size?.characters ?? 0) + 16 * elements(operand) * longest);
    if (name === "tojson" && size !== undefined)
      budget.allowText(size.characters + size.values * (2 * longest + width * (size.depth + 1)));
    if (name === "indent" && typeof operand === "string")
      budget.allowText(operand.length + (occurrences(operand, "\n") + 1) * width);
    if (!Array.isArray(operand)) return;
    // Of each element, the path of an attribute is read; `selectattr(name, test)` reads the attribute.
    budget.spend((operand.length * longest) / 16);
    if (!name.endsWith("attr")) return;
    const [attribute, test] = given;
    if (typeof attribute !== "string" || typeof test !== "string") return;
    for (const item of operand) {
      const object = plainValue(item);
      const text = object instanceof Map ? plainValue(object.get(attribute)) : undefined;
      if (typeof text === "string") budget.spend(elements(text));
    }
  }

  /** A method of a text. */
  #call(text: string | undefined, given: readonly unknown[]): void {
    if (text === undefined) return;
    const budget = this.#budget;
    budget.spend(elements(text));
    const [first] = given;
    if (isContainer(first)) budget.spend(elements(first) * (1 + text.length / 1000));
    const [part, replacement] = given.filter((one) => typeof one === "string");
    if (part === undefined) return;
    this.#search(text, part);
    if (replacement === undefined || (text.length + 1) * replacement.length <= budget.mostText) return;
    budget.allowText(text.length + (part === "" ? text.length + 1 : occurrences(text, part)) * replacement.length);
  }

  /** Looking for a part takes, at worst, the product of the lengths. */
  #search(text: string, part: string): void {
    if (part.length <= text.length) this.#budget.spend(elements(text) * (1 + part.length / 64));
  }

  #operate(sign: string, left: unknown, right: unknown): void {
    const budget = this.#budget;
    const isScalar = (side: unknown) => side !== null && side !== undefined && typeof side !== "object";
    if (sign === "and" || sign === "or") return;
    if (sign.endsWith("in")) {
      if (typeof left === "string" && typeof right === "string") return this.#search(right, left);
      for (const item of Array.isArray(right) ? right : [left])
        budget.spend(1 + Math.min(elements(left), elements(plainValue(item))));
    } else if (sign === "+" && Array.isArray(left) && Array.isArray(right)) {
      budget.spend((left.length + right.length) / 8);
    } else if (!/^[!=]=$/.test(sign) || isScalar(left) || isScalar(right)) {
      // JavaScript writes a list out to compare it with a text.
      this.#spell(left);
      this.#spell(right);
      if (sign.endsWith("=")) budget.spend(Math.min(elements(left), elements(right)));
    }
  }
}

function countNodes(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = value instanceof Map ? [...value].flat() : Object.values(value);
  return inner.reduce<number>((sum, one) => sum + countNodes(one), 1);
}

function field(node: unknown, name: string): unknown {
  return typeof node === "object" && node !== null ? Reflect.get(node, name) : undefined;
}

function filterName(node: Node): string {
  const filter = field(node, "filter");
  return String(field(field(filter, "callee") ?? filter, "value"));
}

function occurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}
