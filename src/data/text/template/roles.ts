import type { Interpreter } from "@huggingface/jinja";

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
