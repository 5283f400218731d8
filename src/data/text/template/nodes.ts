import { LimitError } from "./budget.ts";

/** A statement or an expression: the library exports no types of them. */
export interface Node {
  readonly type: string;
}

/** Of parentheses, operators, blocks in each other. */
const MAX_DEPTH = 1000;

/** What is known of a template's nodes before it is rendered. */
export interface NodeRoles {
  /** Arguments of calls and filters, named ones too; those that are unpacked (`*list`, `**object`) are many. */
  readonly arguments: WeakMap<object, "one" | "many">;
  /** Nodes in each macro or call block: defining one walks through them. */
  readonly sizes: WeakMap<object, number>;
}

/** A field of a node; undefined where it has none. */
export function field(node: object, name: string): unknown {
  return Reflect.get(node, name);
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** @throws LimitError for a template that is nested too deeply */
export function rolesOf(program: object): NodeRoles {
  const roles: NodeRoles = { arguments: new WeakMap(), sizes: new WeakMap() };
  const count = (value: unknown, depth: number): number => {
    if (typeof value !== "object" || value === null) return 0;
    if (depth > MAX_DEPTH) throw new LimitError(`it is nested more than ${MAX_DEPTH} deep`);
    if (value instanceof Map) return count([...value.keys(), ...value.values()], depth + 1);
    let sum = isNode(value) ? 1 : 0;
    for (const inner of Object.values(value)) sum += count(inner, depth + 1);
    if (!isNode(value)) return sum;
    if (value.type === "Macro" || value.type === "CallStatement") roles.sizes.set(value, sum);
    if (value.type === "CallExpression") noteArguments(value, roles);
    return sum;
  };
  count(program, 0);
  return roles;
}

function noteArguments(call: object, roles: NodeRoles): void {
  const list = field(call, "args");
  for (const argument of Array.isArray(list) ? list.filter(isNode) : []) {
    const unpacked = field(argument, "argument");
    const named = argument.type === "KeywordArgumentExpression" ? field(argument, "value") : argument;
    if (/Spread/.test(argument.type) && isNode(unpacked)) roles.arguments.set(unpacked, "many");
    else if (isNode(named)) roles.arguments.set(named, "one");
  }
}
