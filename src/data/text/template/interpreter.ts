import { Environment, Interpreter } from "@huggingface/jinja";
import { type Budget, field, type Node, type Role } from "./budget.ts";

type EvaluateArguments = Parameters<Interpreter["evaluate"]>;
type Value = ReturnType<Interpreter["evaluate"]>;

/** Comments of this form are ours: the line of the block that follows. */
export const LINE_MARK = "\u0000line ";

/** To define a macro walks through its body. */
const STEPS_A_MACRO = 2000;

/** Remembers the line of the last block that it entered, and keeps within a budget. */
export class BoundedInterpreter extends Interpreter {
  line = 1;
  readonly #budget: Budget;
  readonly #roles: ReadonlyMap<unknown, Role>;
  /** Of each node that is being evaluated, the sizes of its operands so far, multiplied. */
  readonly #work: number[] = [];
  /** Values whose methods keep within the budget. */
  readonly #bounded = new WeakSet<object>();
  /** What macros are defined as, by whatever name they are called. */
  readonly #macros = new WeakMap<object, string>();

  constructor(environment: Environment, budget: Budget, roles: ReadonlyMap<unknown, Role>) {
    super(environment);
    this.#budget = budget;
    this.#roles = roles;
  }

  override evaluate(...[statement, environment]: EvaluateArguments): Value {
    if (statement === undefined) return super.evaluate(statement, environment);
    const { type } = statement;
    if (type === "Comment") {
      const text = String(field(statement, "value"));
      if (text.startsWith(LINE_MARK)) this.line = Number(text.slice(LINE_MARK.length));
    }
    const { line } = this;
    const role = this.#roles.get(statement);
    this.#budget.enter(type === "Macro" || type === "CallStatement" ? STEPS_A_MACRO : 1);
    this.#work.push(1);
    try {
      const value = this.#asInPython(super.evaluate(statement, environment), statement, role);
      if (type === "Macro") {
        const name = String(field(field(statement, "name"), "value"));
        this.#macros.set(environment.lookupVariable(name), name);
      }
      // Back from a macro, which has lines of its own.
      if (type === "CallExpression") this.line = line;
      this.#budget.take(value, role);
      if (role === "operand" || role === "spread" || role === "arranged") this.#multiply(value, role);
      if (role === "receiver") this.#boundMethods(value);
      return value;
    } finally {
      this.#work.pop();
      this.#budget.leave();
    }
  }

  /** Operands come before the work that they make is done. */
  #multiply(value: Value, role: Role): void {
    const outer = this.#work.length - 2;
    const parts: readonly unknown[] = role === "spread" && Array.isArray(value.value) ? value.value : [value];
    const work = parts.reduce<number>((product, part) => product * this.#budget.sizeOf(part), this.#work[outer] ?? 1);
    this.#work[outer] = work;
    this.#budget.allow(work);
  }

  /** What a method does follows what it is a method of and what it is given, by whatever name it is called. */
  #boundMethods(value: Value): void {
    if (this.#bounded.has(value)) return;
    this.#bounded.add(value);
    for (const method of value.builtins.values()) {
      const act: unknown = method.value;
      if (typeof act !== "function") continue;
      const bounded = (given: readonly unknown[], scope: unknown): unknown => {
        const budget = this.#budget;
        budget.allow(given.reduce<number>((work, one) => work * budget.sizeOf(one), budget.sizeOf(value)));
        // It may have been looked up long before it is called.
        budget.take(value, "operand");
        return Reflect.apply(act, undefined, [given, scope]);
      };
      Reflect.set(method, "value", bounded);
    }
  }

  /** True, False, None and macros are written so, and what is undefined is a list of nothing to a loop, and no text to `~`. */
  #asInPython(value: Value, node: Node, role: Role | undefined): Value {
    const { type } = node;
    const make = (literal: Node & { readonly value: unknown }): Value => super.evaluate(literal, new Environment());
    if (role === "loop" && value.type === "UndefinedValue") return make({ type: "ArrayLiteral", value: [] });
    // Statements have no value, which is null, too.
    if (role !== "printed" || !/Literal$|Expression$|^(?:Identifier|Ternary)$/.test(type)) return value;
    if (value.type === "UndefinedValue") return make({ type: "StringLiteral", value: "" });
    if (value.type === "NullValue") return make({ type: "StringLiteral", value: "None" });
    if (value.type === "FunctionValue") {
      const name = this.#macros.get(value);
      return make({ type: "StringLiteral", value: `<Macro ${name === undefined ? "anonymous" : `'${name}'`}>` });
    }
    if (value.type !== "BooleanValue") return value;
    return make({ type: "StringLiteral", value: value.value === true ? "True" : "False" });
  }
}
