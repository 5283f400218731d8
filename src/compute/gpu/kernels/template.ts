/**
 * The preprocessor of our `.wgsl` files: one source, many variants.
 *
 *   #if STORAGE == "ternary" / #else / #end     keeps or drops lines
 *   #for i in 0..LANES / #end                   repeats lines
 *   #include philox                             inserts another file, or a block
 *   #include matrix, NAME = "a", AT = 2 * N     … with further definitions, which hold there
 *   #use philox                                 inserts another file where none has inserted it yet: a library
 *   #block left / #end                          names lines that the files included below insert, and does not insert them
 *   ${ROWS * i + 1}                             inserts a value
 *
 * Expressions know numbers, "strings", names, + - * / % == != < > && || ! and parentheses. A name that is not defined
 * is an error, so a misspelt variant cannot compile to something else.
 */
export type Definitions = Readonly<Record<string, number | string>>;

type Value = number | string;

/** Where an expansion stands. */
interface Scope {
  readonly names: Definitions;
  /** What `#include` finds; blocks are added. */
  readonly includes: Record<string, Value>;
  /** Files that were inserted, anywhere. */
  readonly inserted: Set<string>;
  readonly output: string[];
  /** Are lines kept? */
  readonly active: boolean;
}

/**
 * Expands a template.
 * @param includes texts by the name that `#include` uses
 * @throws Error naming the line; a template is part of the program, so this is a bug and not a user's mistake
 */
export function expandTemplate(source: string, names: Definitions, includes: Definitions = {}): string {
  const output: string[] = [];
  expandText(source, { names, includes: { ...includes }, inserted: new Set(), output, active: true });
  return output.join("\n");
}

function expandText(source: string, scope: Scope): void {
  const lines = source.split("\n");
  const end = expandLines(lines, 0, scope);
  if (end !== lines.length) throw new Error(`line ${end + 1}: #end or #else without #if or #for`);
}

/** Expands lines from `start` until an unmatched `#else` or `#end`, whose index it returns. */
function expandLines(lines: readonly string[], start: number, scope: Scope): number {
  const { names, includes, output, active } = scope;
  let at = start;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const [, directive, rest = ""] = /^\s*#(\w+)\s*(.*)$/.exec(line) ?? [];
    try {
      if (directive === "else" || directive === "end") return at;
      if (directive === "if") at = expandIf(lines, at, rest, scope);
      else if (directive === "for") at = expandFor(lines, at, rest, scope);
      else if (directive === "block") {
        const end = endOf(lines, at);
        if (active) includes[rest.trim()] = lines.slice(at + 1, end).join("\n");
        at = end;
      } else if (directive === "include" || directive === "use") {
        if (active) insert(rest, directive === "use", scope);
      } else if (directive !== undefined) throw new Error(`#${directive}: unknown directive`);
      else if (active) output.push(line.replace(/\$\{([^}]*)\}/g, (_, code: string) => String(evaluate(code, names))));
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw message.startsWith("line ") ? cause : new Error(`line ${at + 1}: ${message}`, { cause });
    }
    at += 1;
  }
  return at;
}

/** Inserts `NAME, DEFINITION = EXPRESSION, …`. */
function insert(what: string, once: boolean, scope: Scope): void {
  const [name = "", ...definitions] = what.split(",").map((part) => part.trim());
  if (once && scope.inserted.has(name)) return;
  scope.inserted.add(name);
  const text = scope.includes[name];
  if (typeof text !== "string") throw new Error(`#include ${name}: no such file`);
  const names = { ...scope.names };
  for (const definition of definitions) {
    const [, key, expression] = /^(\w+)\s*=(?!=)(.+)$/.exec(definition) ?? [];
    if (key === undefined || expression === undefined) throw new Error(`#include ${what}: not understood`);
    names[key] = evaluate(expression, scope.names);
  }
  expandText(text, { ...scope, names, includes: { ...scope.includes } });
}

/** The line of the `#end` that belongs to the directive in line `at`. */
function endOf(lines: readonly string[], at: number): number {
  let depth = 0;
  for (let line = at; line < lines.length; line++) {
    const [, directive] = /^\s*#(\w+)/.exec(lines[line] ?? "") ?? [];
    if (directive === "if" || directive === "for" || directive === "block") depth++;
    if (directive === "end" && --depth === 0) return line;
  }
  throw new Error("#block without #end");
}

function expandIf(lines: readonly string[], at: number, condition: string, scope: Scope): number {
  const { active } = scope;
  const holds = active && truth(evaluate(condition, scope.names));
  let end = expandLines(lines, at + 1, { ...scope, active: holds });
  if (lines[end]?.trim().startsWith("#else") === true) {
    end = expandLines(lines, end + 1, { ...scope, active: active && !holds });
  }
  if (lines[end]?.trim() !== "#end") throw new Error("#if without #end");
  return end;
}

function expandFor(lines: readonly string[], at: number, header: string, scope: Scope): number {
  const [, name, from, to] = /^(\w+)\s+in\s+(.+?)\.\.(.+)$/.exec(header) ?? [];
  if (name === undefined || from === undefined || to === undefined) throw new Error(`#for ${header}: not understood`);
  const { names, active } = scope;
  const first = active ? Number(evaluate(from, names)) : 0;
  const last = active ? Number(evaluate(to, names)) : 0;
  let end = expandLines(lines, at + 1, { ...scope, active: false });
  for (let index = first; index < last; index++) {
    end = expandLines(lines, at + 1, { ...scope, names: { ...names, [name]: index } });
  }
  if (lines[end]?.trim() !== "#end") throw new Error("#for without #end");
  return end;
}

const OPERATORS: readonly Readonly<Record<string, (left: Value, right: Value) => Value>>[] = [
  { "||": (left, right) => Number(truth(left) || truth(right)) },
  { "&&": (left, right) => Number(truth(left) && truth(right)) },
  {
    "==": (left, right) => Number(left === right),
    "!=": (left, right) => Number(left !== right),
    "<": (left, right) => Number(left < right),
    ">": (left, right) => Number(left > right),
  },
  { "+": (left, right) => Number(left) + Number(right), "-": (left, right) => Number(left) - Number(right) },
  {
    "*": (left, right) => Number(left) * Number(right),
    "/": (left, right) => Math.floor(Number(left) / Number(right)),
    "%": (left, right) => Number(left) % Number(right),
  },
];

function truth(value: Value): boolean {
  return value !== 0 && value !== "";
}

/** The value of an expression; division is integer division. */
export function evaluate(expression: string, names: Definitions): Value {
  const tokens = expression.match(/\d+|\w+|"[^"]*"|\|\||&&|==|!=|[-+*/%()!<>]|\S/g) ?? [];
  let at = 0;
  const binary = (level: number): Value => {
    const operators = OPERATORS[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    for (let apply = operators[tokens[at] ?? ""]; apply !== undefined; apply = operators[tokens[at] ?? ""]) {
      at += 1;
      left = apply(left, binary(level + 1));
    }
    return left;
  };
  const unary = (): Value => {
    const token = tokens[at++];
    if (token === undefined) throw new Error(`"${expression}" ends too early`);
    if (token === "!") return Number(!truth(unary()));
    if (token === "(") {
      const value = binary(0);
      if (tokens[at++] !== ")") throw new Error(`"${expression}" lacks a )`);
      return value;
    }
    if (/^\d/.test(token)) return Number(token);
    if (token.startsWith('"')) return token.slice(1, -1);
    const value = names[token];
    if (value === undefined) throw new Error(`${token} is not defined`);
    return value;
  };
  const value = binary(0);
  if (at !== tokens.length) throw new Error(`"${expression}" is not understood at ${tokens[at]}`);
  return value;
}
