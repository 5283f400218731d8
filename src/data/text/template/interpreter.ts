import { Environment, Interpreter } from "@huggingface/jinja";

import type { Budget, Use } from "./budget.ts";

type EvaluateArguments = Parameters<Interpreter["evaluate"]>;
type Node = NonNullable<EvaluateArguments[0]>;
type Value = ReturnType<Interpreter["evaluate"]>;

/** Comments of this form are ours: the line of the block that follows. */
export const LINE_MARK = "\u0000line ";

/** Nodes that write out what stands in them, and nothing else that can be told from it (a call's arguments). */
const BLOCKS = new Set(["Program", "If", "For", "Set"]);
const OPERATORS = new Set(["BinaryExpression", "FilterExpression", "CallExpression"]);

/** What multiplies its operands with each other. */
const MULTIPLYING = new Set(["FilterExpression", "FilterStatement", "CallExpression"]);

const STEPS_A_MACRO = 2000;

/** A node that is being evaluated. */
interface Frame {
  readonly node: Node;
  /** The sizes of its operands so far, multiplied. */
  work: number;
  /** Characters that a filter's block has written. */
  written: number;
  /** What comes now is, of a call, its macro's body; of a filter's block, the filter's arguments. */
  isBehind: boolean;
}

/** Remembers the line of the last block that it entered, and keeps within a budget. */
export class BoundedInterpreter extends Interpreter {
  line = 1;
  readonly #budget: Budget;
  readonly #around: Frame[] = [];
  /** Functions that are macros: what they do is evaluated, and charged, node by node. */
  readonly #macros = new WeakSet<Value>();

  constructor(environment: Environment, budget: Budget) {
    super(environment);
    this.#budget = budget;
  }

  override evaluate(...[statement, environment]: EvaluateArguments): ReturnType<Interpreter["evaluate"]> {
    if (statement === undefined) return super.evaluate(statement, environment);
    if (statement.type === "Comment") {
      const text = String(field(statement, "value"));
      if (text.startsWith(LINE_MARK)) this.line = Number(text.slice(LINE_MARK.length));
    }
    const { line } = this;
    const outer = this.#around.at(-1);
    this.#budget.enter();
    // To define one walks through its body.
    if (statement.type === "Macro" || statement.type === "CallStatement") this.#budget.spend(STEPS_A_MACRO);
    const frame = { node: statement, work: 1, written: 0, isBehind: lastOf(statement) === undefined };
    this.#around.push(frame);
    try {
      const use = outer === undefined ? "looked at" : useOf(outer.node, statement);
      const value = this.#asInPython(super.evaluate(statement, environment), statement, use);
      if (statement.type === "Macro") {
        this.#macros.add(environment.lookupVariable(String(field(field(statement, "name"), "value"))));
      }
      // Back from a macro, which has lines of its own.
      if (statement.type === "CallExpression") this.line = line;
      this.#budget.take(value, use);
      if (outer !== undefined) this.#multiply(outer, frame, value);
      return value;
    } finally {
      this.#around.pop();
      this.#budget.leave();
    }
  }

  /** Operands come before the work that they make is done. */
  #multiply(outer: Frame, { node, work }: Frame, value: Value): void {
    const { type } = outer.node;
    const isSearch = /^(?:not )?in$/.test(String(field(field(outer.node, "operator"), "value")));
    const isReceiver = type === "MemberExpression" && field(outer.node, "object") === node;
    if (!MULTIPLYING.has(type) && !isSearch && !isReceiver) return;
    const { isBehind } = outer;
    outer.isBehind ||= lastOf(outer.node) === node;
    if (type === "CallExpression" && (isBehind || this.#macros.has(value))) return;
    const isInBlock = type === "FilterStatement" && !isBehind;
    // A method works on what it is a method of.
    const size = value.type === "FunctionValue" ? work : sizeOf(value, type !== "CallExpression");
    // The parts of a block stand one behind the other.
    if (isInBlock) outer.written += size;
    else outer.work *= size;
    // What is called comes behind its arguments.
    const isWhole = type !== "CallExpression" || outer.isBehind;
    if (isWhole && !isReceiver) this.#budget.allow(outer.work * Math.max(outer.written, 1));
  }

  /** True, False and None are written so, and what is undefined is a list of nothing to a loop. (In bodies of macros and calls they are the library's.) */
  #asInPython(value: Value, { type }: Node, use: Use): Value {
    const make = (literal: Node & { readonly value: unknown }): Value => super.evaluate(literal, new Environment());
    if (use === "loop" && value.type === "UndefinedValue") return make({ type: "ArrayLiteral", value: [] });
    if (use === "written" && value.type === "UndefinedValue") return make({ type: "StringLiteral", value: "" });
    if (use !== "written" || !/Literal$|Expression$|^(?:Identifier|Ternary)$/.test(type)) return value;
    if (value.type === "BooleanValue")
      return make({ type: "StringLiteral", value: value.value === true ? "True" : "False" });
    return value.type === "NullValue" ? make({ type: "StringLiteral", value: "None" }) : value;
  }
}

/** What a node does with the value of a part of it. */
function useOf(outer: Node, part: Node): Use {
  const { type } = outer;
  if (OPERATORS.has(type)) return isMadeText(outer, part) ? "written" : "operand";
  const iterable = field(outer, "iterable");
  if (part === iterable || part === field(iterable, "lhs")) return "loop";
  const isRead = [
    field(outer, "test"),
    field(iterable, "test"),
    field(outer, "value"),
    field(field(outer, "assignee"), "object"),
  ].includes(part);
  return BLOCKS.has(type) && !isRead ? "written" : "looked at";
}

/** The last part of a call that is an operand, and of a filter's block that is in the block. */
function lastOf(node: Node): unknown {
  if (node.type === "CallExpression") return field(node, "callee");
  const body = node.type === "FilterStatement" ? field(node, "body") : undefined;
  return Array.isArray(body) ? body.at(-1) : undefined;
}

/** Characters, elements, or a number itself where it may be a width. */
function sizeOf({ value }: Value, isWidth: boolean): number {
  if (typeof value === "string") return Math.max(value.length, 1);
  if (Array.isArray(value)) return Math.max(value.length, 1);
  if (value instanceof Map) return Math.max(value.size, 1);
  return isWidth && typeof value === "number" ? Math.max(value, 1) : 1;
}

/** What `~` joins, and what the filter `string` is given, becomes a text as what is written out does. */
function isMadeText(outer: Node, part: Node): boolean {
  if (field(field(outer, "operator"), "value") === "~") return true;
  return part === field(outer, "operand") && field(field(outer, "filter"), "value") === "string";
}

function field(node: unknown, name: string): unknown {
  return typeof node === "object" && node !== null ? Reflect.get(node, name) : undefined;
}
