import { type Environment, Interpreter } from "@huggingface/jinja";

import type { Budget, Use } from "./budget.ts";

type EvaluateArguments = Parameters<Interpreter["evaluate"]>;
type Node = NonNullable<EvaluateArguments[0]>;

/** Comments of this form are ours: the line of the block that follows. */
export const LINE_MARK = "\u0000line ";

/** Nodes that write out what stands in them. */
const BLOCKS = new Set(["Program", "If", "For", "Set", "CallStatement", "FilterStatement"]);
const OPERATORS = new Set(["BinaryExpression", "FilterExpression", "CallExpression"]);

const STEPS_A_MACRO = 2000;

/** Remembers the line of the last block that it entered, and keeps within a budget. */
export class BoundedInterpreter extends Interpreter {
  line = 1;
  readonly #budget: Budget;
  readonly #around: Node[] = [];

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
    this.#around.push(statement);
    try {
      const value = super.evaluate(statement, environment);
      // Back from a macro, which has lines of its own.
      if (statement.type === "CallExpression") this.line = line;
      this.#budget.take(value, outer === undefined ? "looked at" : useOf(outer, statement));
      return value;
    } finally {
      this.#around.pop();
      this.#budget.leave();
    }
  }
}

/** What a node does with the value of a part of it. */
function useOf(outer: Node, part: Node): Use {
  const { type } = outer;
  if (OPERATORS.has(type)) return "operand";
  const iterable = field(outer, "iterable");
  if (part === iterable || part === field(iterable, "lhs")) return "loop";
  const isRead = [field(outer, "test"), field(outer, "value"), field(field(outer, "assignee"), "object")].includes(
    part,
  );
  return BLOCKS.has(type) && !isRead ? "written" : "looked at";
}

function field(node: unknown, name: string): unknown {
  return typeof node === "object" && node !== null ? Reflect.get(node, name) : undefined;
}
