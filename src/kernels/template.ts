/**
 * The preprocessor of our `.wgsl` files: one source, many variants.
 *
 *   #if STORAGE == "ternary" / #else / #end     keeps or drops lines
 *   #for i in 0..LANES / #end                   repeats lines
 *   #include philox                             inserts another file, or a block
 *   #block left / #end                          names lines that the files included below insert, and does not insert them
 *   ${ROWS * i + 1}                             inserts a value
 *
 * Expressions know numbers, "strings", names, + - * / % == != < > && || ! and parentheses. A name that is not defined
 * is an error, so a misspelt variant cannot compile to something else.
 */
export type Definitions = Readonly<Record<string, number | string>>;

type Value = number | string;

/**
 * Expands a template.
 * @param includes texts by the name that `#include` uses
 * @throws Error naming the line; a template is part of the program, so this is a bug and not a user's mistake
 */
export function expandTemplate(source: string, definitions: Definitions, includes: Definitions = {}): string {
  const lines = source.split("\n");
  const output: string[] = [];
  const end = expandLines(lines, 0, { ...definitions }, { ...includes }, output, true);
  if (end !== lines.length) throw new Error(`line ${end + 1}: #end or #else without #if or #for`);
  return output.join("\n");
}

/** Expands lines from `start` until an unmatched `#else` or `#end`, whose index it returns. */
function expandLines(
  lines: readonly string[],
  start: number,
  names: Record<string, Value>,
  includes: Record<string, Value>,
  output: string[],
  active: boolean,
): number {
  let at = start;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const [, directive, rest = ""] = /^\s*#(\w+)\s*(.*)$/.exec(line) ?? [];
    try {
      if (directive === "else" || directive === "end") return at;
      if (directive === "if") at = expandIf(lines, at, rest, names, includes, output, active);
      else if (directive === "for") at = expandFor(lines, at, rest, names, includes, output, active);
      else if (directive === "block") {
        const end = endOf(lines, at);
        if (active) includes[rest.trim()] = lines.slice(at + 1, end).join("\n");
        at = end;
      } else if (directive === "include") {
        if (active) output.push(expandTemplate(included(includes, rest.trim()), names, includes));
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

function included(includes: Definitions, name: string): string {
  const text = includes[name];
  if (typeof text === "string") return text;
  throw new Error(`#include ${name}: no such file`);
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

function expandIf(
  lines: readonly string[],
  at: number,
  condition: string,
  names: Record<string, Value>,
  includes: Record<string, Value>,
  output: string[],
  active: boolean,
): number {
  const holds = active && truth(evaluate(condition, names));
  let end = expandLines(lines, at + 1, names, includes, output, holds);
  if (lines[end]?.trim().startsWith("#else") === true) {
    end = expandLines(lines, end + 1, names, includes, output, active && !holds);
  }
  if (lines[end]?.trim() !== "#end") throw new Error("#if without #end");
  return end;
}

function expandFor(
  lines: readonly string[],
  at: number,
  header: string,
  names: Record<string, Value>,
  includes: Record<string, Value>,
  output: string[],
  active: boolean,
): number {
  const [, name, from, to] = /^(\w+)\s+in\s+(.+?)\.\.(.+)$/.exec(header) ?? [];
  if (name === undefined || from === undefined || to === undefined) throw new Error(`#for ${header}: not understood`);
  const first = active ? Number(evaluate(from, names)) : 0;
  const last = active ? Number(evaluate(to, names)) : 0;
  let end = expandLines(lines, at + 1, names, includes, [], false);
  for (let index = first; index < last; index++) {
    end = expandLines(lines, at + 1, { ...names, [name]: index }, includes, output, true);
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
