// Larger than 12 KB: one table of what each filter, test and operator costs.
import { type Budget, elements, isContainer, plainValue, type Size } from "./budget.ts";
import { field, isNode, type Node, type NodeRoles } from "./nodes.ts";

/** An expression or a statement that is being evaluated, and what is known of its parts. */
export interface Frame {
  readonly node: Node;
  /** Of a filter, an operator, a member: what it is applied to. */
  operand: unknown;
  /** Of a filter that writes its operand out. */
  size: Size | undefined;
  readonly given: unknown[];
  /** Length of what its block has written so far. */
  written: number;
}

/** Of a loop: the interpreter makes a scope and a table of ten values for each, before anything is evaluated. */
const STEPS_A_ROUND = 6;

/** Filters that look at no more than one element. */
const CHEAP = new Set(["first", "last", "length", "list", "default", "safe"]);
/** Filters that write all of a value out, or compare all of it. */
const WHOLE = new Set(["tojson", "join", "string", "sort", "dictsort", "unique"]);
/** Tests that read texts. */
const READING = new Set(["equalto", "eq", "lower", "upper"]);

/**
 * Charges what the interpreter does natively: a filter, an operator or a method is one step to it, and may walk through
 * millions of elements, or make a text of gigabytes of a few words. Charged is what goes in, before it happens; a text is
 * refused before it is made.
 */
export class Costs {
  readonly #budget: Budget;
  readonly #roles: NodeRoles;
  /** What methods belong to. */
  readonly #receivers = new WeakMap<object, unknown>();

  constructor(budget: Budget, roles: NodeRoles) {
    this.#budget = budget;
    this.#roles = roles;
  }

  /** Charges an expression's own work, when it is done. `plain` is what `value` holds. */
  own({ node, operand }: Frame, value: object, plain: unknown): void {
    const budget = this.#budget;
    if (typeof plain === "string") budget.allowText(plain.length);
    switch (node.type) {
      case "Identifier":
        // Scopes are searched one by one, and a name that is in none costs an exception.
        budget.spend((budget.depth >> 5) + (plain === undefined ? 20 : 0));
        break;
      case "MemberExpression":
        // A table of methods was made.
        if (plain === undefined || typeof plain === "function" || typeof plain === "number") budget.spend(16);
        if (typeof plain === "function") this.#receivers.set(value, operand);
        break;
      case "CallExpression":
        if (Array.isArray(plain)) budget.spend(2 * plain.length);
        break;
      case "FilterExpression":
        if (Array.isArray(plain) && !CHEAP.has(filterName(node))) budget.spend(2 * plain.length);
        break;
    }
  }

  /** Charges a statement that does its work before its parts. */
  before({ type }: Node, node: object): void {
    if (type === "Break" || type === "Continue") this.#budget.spend(20);
    else this.#budget.spend(this.#roles.sizes.get(node) ?? 0);
  }

  /** Charges what the expression around does with a part of it, and refuses it where it would be too much. */
  part(frame: Frame, node: object, value: object, plain: unknown): void {
    const outer = frame.node;
    switch (outer.type) {
      case "For": {
        const iterable = field(outer, "iterable");
        if (node === iterable || (isNode(iterable) && node === field(iterable, "lhs")))
          this.#budget.spend(STEPS_A_ROUND * elements(plain));
        else this.#written(frame, plain);
        return;
      }
      case "FilterExpression":
        if (this.#roles.arguments.has(node)) this.#arguments(frame, node, plain);
        else this.#filtered(frame, plain);
        return;
      case "FilterStatement":
        if (this.#roles.arguments.has(node)) this.#arguments(frame, node, plain);
        else this.#rendered(frame, plain);
        return;
      case "CallExpression":
        if (this.#roles.arguments.has(node)) {
          this.#arguments(frame, node, plain);
        } else if (node === field(outer, "callee")) {
          this.#method(frame, this.#receivers.get(value));
        } else {
          this.#written(frame, plain);
        }
        return;
      case "BinaryExpression":
        this.#operator(frame, node, plain);
        return;
      case "MemberExpression":
        this.#member(frame, node, plain);
        return;
      case "TestExpression":
        if (typeof plain === "string") this.#budget.spend(elements(plain));
        return;
      case "ObjectLiteral":
        // Perhaps a key.
        if (typeof plain === "string") this.#budget.spend(elements(plain) / 4);
        return;
      case "Program":
      case "CallStatement":
        if (!this.#roles.arguments.has(node)) this.#written(frame, plain);
        return;
      case "If":
        if (node !== field(outer, "test")) this.#written(frame, plain);
        return;
      case "Set":
        // With a value there is no block; the object of `ns.name` is no part of it.
        if (isNode(field(outer, "value")) || isAssigned(outer, node)) return;
        this.#written(frame, plain);
    }
  }

  /** What stands in a block is written into its text. */
  #written(frame: Frame, plain: unknown): void {
    this.#spelled(plain);
    if (typeof plain !== "string") return;
    frame.written += plain.length;
    this.#budget.allowText(frame.written);
  }

  /** Lists and objects become texts. */
  #spelled(plain: unknown): void {
    if (isContainer(plain)) this.#budget.payWhole(plain);
  }

  #filtered(frame: Frame, plain: unknown): void {
    const name = filterName(frame.node);
    frame.operand = plain;
    if (WHOLE.has(name)) frame.size = this.#budget.payWhole(plain);
    if (name === "sort" || name === "dictsort") this.#budget.spend(16 * elements(plain));
    else if (!CHEAP.has(name)) this.#budget.spend(elements(plain));
  }

  /** The block of a filter statement, piece by piece. */
  #rendered(frame: Frame, plain: unknown): void {
    this.#written(frame, plain);
    if (typeof plain !== "string") return;
    this.#budget.spend(elements(plain));
    frame.operand = typeof frame.operand === "string" ? frame.operand + plain : plain;
  }

  #arguments(frame: Frame, node: object, plain: unknown): void {
    if (this.#roles.arguments.get(node) !== "many" || !isContainer(plain)) {
      this.#argument(frame, plain);
      return;
    }
    this.#budget.spend(elements(plain));
    for (const each of plain.values()) this.#argument(frame, plainValue(each));
  }

  #argument(frame: Frame, plain: unknown): void {
    const { given, operand, size } = frame;
    given.push(plain);
    if (frame.node.type === "CallExpression") {
      this.#budget.spend(isContainer(plain) ? elements(plain) / 4 : elements(plain));
      return;
    }
    const name = filterName(frame.node);
    if (name === "replace") {
      if (given.length === 1) this.#search(operand, plain);
      this.#replacement(operand, given);
    } else if (/^(?:select|reject)attr$/.test(name)) this.#attribute(operand, given);
    else if (name === "join" && typeof plain === "string") {
      const pieces = typeof operand === "string" ? operand.length : elements(operand);
      this.#budget.allowText((size?.characters ?? 0) + pieces * plain.length);
    } else if (name === "indent" && typeof plain === "number" && typeof operand === "string") {
      this.#budget.allowText(operand.length + (occurrences(operand, "\n") + 1) * plain);
    } else if (name === "tojson" && size !== undefined) {
      // Two spaces around each value, or a new line and its margin.
      const each = typeof plain === "number" ? plain * (size.depth + 1) : lengthOfTexts(plain);
      this.#budget.allowText(size.characters + size.values * each);
    }
  }

  #method(frame: Frame, receiver: unknown): void {
    if (typeof receiver !== "string") return;
    this.#budget.spend(elements(receiver));
    const [first] = frame.given;
    this.#search(receiver, first);
    // `startswith` of several.
    if (isContainer(first)) this.#budget.spend(elements(first) * (1 + receiver.length / 1000));
    this.#replacement(receiver, frame.given);
  }

  /** Looking for a part takes, at worst, the product of the lengths. */
  #search(text: unknown, part: unknown): void {
    if (typeof text !== "string" || typeof part !== "string" || part.length > text.length) return;
    this.#budget.spend(elements(text) * (1 + part.length / 64));
  }

  /** `selectattr(name, test)` reads that attribute of each element. */
  #attribute(list: unknown, [name, test]: readonly unknown[]): void {
    if (!Array.isArray(list) || typeof name !== "string" || typeof test !== "string" || !READING.has(test)) return;
    for (const item of list) {
      const plain = plainValue(item);
      const text = plain instanceof Map ? plainValue(plain.get(name)) : undefined;
      if (typeof text === "string") this.#budget.spend(elements(text));
    }
  }

  /** `text.replace(old, new)`; no other method takes two texts. */
  #replacement(text: unknown, [old, replacement]: readonly unknown[]): void {
    if (typeof text !== "string" || typeof old !== "string" || typeof replacement !== "string") return;
    if ((text.length + 1) * replacement.length <= this.#budget.mostText) return;
    this.#budget.spend(elements(text));
    const times = old === "" ? text.length + 1 : occurrences(text, old);
    this.#budget.allowText(text.length + times * replacement.length);
  }

  #operator(frame: Frame, node: object, plain: unknown): void {
    if (node === field(frame.node, "left")) {
      frame.operand = plain;
      return;
    }
    const operator = field(frame.node, "operator");
    const sign = isNode(operator) ? field(operator, "value") : "";
    const both = [frame.operand, plain];
    if (sign === "and" || sign === "or") return;
    if (sign === "in" || sign === "not in") {
      this.#contained(frame.operand, plain);
    } else if (sign === "+" && both.every((side) => Array.isArray(side))) {
      this.#budget.spend((elements(frame.operand) + elements(plain)) / 8);
    } else if (sign === "==" || sign === "!=") {
      // JavaScript writes a list out to compare it with a text.
      if (both.some((side) => side !== null && side !== undefined && typeof side !== "object"))
        both.forEach((side) => this.#spelled(side));
      if (typeof frame.operand === "string" && typeof plain === "string" && frame.operand.length === plain.length) {
        this.#budget.spend(elements(plain));
      }
    } else {
      both.forEach((side) => this.#spelled(side));
    }
  }

  #contained(part: unknown, whole: unknown): void {
    this.#search(whole, part);
    this.#budget.spend(elements(part));
    if (!Array.isArray(whole)) return;
    this.#budget.spend(whole.length);
    if (typeof part !== "string") return;
    // Texts are compared where they are of one length.
    const alike = whole.filter((item: unknown) => {
      const plain = plainValue(item);
      return typeof plain === "string" && plain.length === part.length;
    });
    this.#budget.spend(alike.length * elements(part));
  }

  /** A text that was put together is written out when a character is asked for, or a key looked up. */
  #member(frame: Frame, node: object, plain: unknown): void {
    const property = field(frame.node, "property");
    if (node === property) {
      this.#budget.spend(elements(typeof frame.operand === "string" ? frame.operand : plain) / 4);
      return;
    }
    if (node !== field(frame.node, "object")) return;
    frame.operand = plain;
    // Of a text, a list of its characters is made.
    if (isNode(property) && property.type === "SliceExpression") this.#budget.spend(2 * elements(plain));
  }
}

function isAssigned(set: object, node: object): boolean {
  const assignee = field(set, "assignee");
  return isNode(assignee) && node === field(assignee, "object");
}

/** The name of a node's filter. */
function filterName(node: object): string {
  const filter = field(node, "filter");
  if (!isNode(filter)) return "";
  const callee = filter.type === "CallExpression" ? field(filter, "callee") : filter;
  return isNode(callee) ? String(field(callee, "value")) : "";
}

function occurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function lengthOfTexts(list: unknown): number {
  if (!Array.isArray(list)) return 0;
  const texts = list.map((item: unknown) => (typeof item === "object" && item !== null ? field(item, "value") : item));
  return texts.reduce<number>((sum, text) => sum + (typeof text === "string" ? text.length : 0), 0);
}
