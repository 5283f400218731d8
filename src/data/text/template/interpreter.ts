import { Environment, Interpreter } from "@huggingface/jinja";

import { type Budget, plainValue } from "./budget.ts";
import { Costs, type Frame } from "./costs.ts";

type EvaluateArguments = Parameters<Interpreter["evaluate"]>;

/** Comments of this form are ours: the line of the block that follows. */
export const LINE_MARK = "\u0000line ";

/** Remembers the line of the last block that it entered, and keeps within a budget. */
export class BoundedInterpreter extends Interpreter {
  line = 1;
  readonly #budget: Budget;
  readonly #costs: Costs;
  readonly #frames: Frame[] = [];

  constructor(environment: Environment, budget: Budget) {
    super(environment);
    this.#budget = budget;
    this.#costs = new Costs(budget);
  }

  override evaluate(...[statement, environment]: EvaluateArguments): ReturnType<Interpreter["evaluate"]> {
    if (statement === undefined) return super.evaluate(statement, environment);
    if (statement.type === "Comment" && "value" in statement) {
      const text = String(statement.value);
      if (text.startsWith(LINE_MARK)) this.line = Number(text.slice(LINE_MARK.length));
    }
    const { line } = this;
    const outer = this.#frames.at(-1);
    const frame: Frame = {
      node: statement,
      operand: undefined,
      size: undefined,
      given: [],
      isApplied: false,
      written: 0,
    };
    this.#budget.enter();
    this.#costs.before(statement);
    this.#frames.push(frame);
    try {
      const value = super.evaluate(statement, environment);
      // Back from a macro, which has lines of its own.
      if (statement.type === "CallExpression") this.line = line;
      const plain = plainValue(value);
      this.#costs.after(frame, value, plain);
      if (outer !== undefined) this.#costs.part(outer, statement, value, plain);
      return value;
    } finally {
      this.#frames.pop();
      this.#budget.leave();
    }
  }
}
