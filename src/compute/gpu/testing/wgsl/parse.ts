import type {
  Argument,
  Block,
  Expression,
  FunctionSyntax,
  GlobalSyntax,
  Member,
  ModuleSyntax,
  Statement,
  TypeSyntax,
} from "./syntax.ts";
import { type Token, tokenize } from "./tokens.ts";

/** Names that a template may follow. */
const TEMPLATES = new Set(["vec2", "vec3", "vec4", "array", "ptr", "atomic", "bitcast"]);
/** Binary operators, those that bind least first. */
const LEVELS = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!="],
  ["<", ">", "<=", ">="],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];
const ASSIGNMENTS = new Set(["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="]);

/**
 * Reads a shader of ours: WGSL without matrices, textures, overrides and `loop`.
 * @throws Error naming the line
 */
export function parseModule(code: string): ModuleSyntax {
  return new Parser(tokenize(code)).module();
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  module(): ModuleSyntax {
    const structs = new Map<string, readonly Member[]>();
    const aliases = new Map<string, TypeSyntax>();
    const constants: { name: string; value: Expression }[] = [];
    const globals: GlobalSyntax[] = [];
    const functions: FunctionSyntax[] = [];
    while (this.#at < this.#tokens.length) {
      const attributes = this.#attributes();
      const word = this.#next();
      if (word === "struct") structs.set(this.#next(), this.#members());
      else if (word === "alias") {
        const name = this.#next();
        this.#expect("=");
        aliases.set(name, this.#type());
        this.#expect(";");
      } else if (word === "const") {
        const name = this.#next();
        this.#expect("=");
        constants.push({ name, value: this.#expression() });
        this.#expect(";");
      } else if (word === "var") globals.push(this.#global(attributes));
      else if (word === "fn") functions.push(this.#function(attributes));
      else if (word !== ";") throw this.#wrong(`${word} is not understood`);
    }
    return { structs, aliases, constants, globals, functions };
  }

  #attributes(): ReadonlyMap<string, readonly string[]> {
    const found = new Map<string, readonly string[]>();
    while (this.#take("@")) {
      const name = this.#next();
      const values: string[] = [];
      if (this.#take("(")) while (!this.#take(")")) if (!this.#take(",")) values.push(this.#next());
      found.set(name, values);
    }
    return found;
  }

  #members(): Member[] {
    const members: Member[] = [];
    this.#expect("{");
    while (!this.#take("}")) {
      const name = this.#next();
      this.#expect(":");
      members.push({ name, type: this.#type() });
      this.#take(",");
    }
    return members;
  }

  #global(attributes: ReadonlyMap<string, readonly string[]>): GlobalSyntax {
    this.#expect("<");
    const space = this.#next();
    if (space !== "workgroup" && space !== "storage" && space !== "uniform") throw this.#wrong(`no ${space} variables`);
    const writable = space === "workgroup" || (this.#take(",") && this.#next() === "read_write");
    this.#expect(">");
    const name = this.#next();
    this.#expect(":");
    const type = this.#type();
    this.#expect(";");
    const [binding] = attributes.get("binding") ?? [];
    return { name, type, space, writable, binding: binding === undefined ? undefined : Number(binding) };
  }

  #function(attributes: ReadonlyMap<string, readonly string[]>): FunctionSyntax {
    const name = this.#next();
    const args: Argument[] = [];
    this.#expect("(");
    while (!this.#take(")")) {
      const [builtin] = this.#attributes().get("builtin") ?? [];
      const argument = this.#next();
      this.#expect(":");
      args.push({ name: argument, type: this.#type(), builtin });
      this.#take(",");
    }
    const result = this.#take("->") ? this.#type() : undefined;
    const workgroupSize = attributes.get("workgroup_size")?.map(Number);
    return { name, args, result, workgroupSize, body: this.#block() };
  }

  #type(): TypeSyntax {
    const name = this.#next();
    const types: TypeSyntax[] = [];
    let count: Expression | undefined;
    if (TEMPLATES.has(name) && this.#take("<")) {
      while (!this.#take(">")) {
        if (name === "array" && types.length === 1) count = this.#binary(LEVELS.length - 2);
        else types.push(this.#type());
        this.#take(",");
      }
    }
    return { name, types, count };
  }

  #block(): Block {
    const body: Statement[] = [];
    this.#expect("{");
    while (!this.#take("}")) if (!this.#take(";")) body.push(this.#statement());
    return body;
  }

  #statement(): Statement {
    const { line } = this.#peek();
    const { text } = this.#peek();
    if (text === "{") return { line, kind: "block", body: this.#block() };
    if (text === "if") return this.#if();
    if (text === "for") return this.#for();
    if (text === "switch") return this.#switch();
    if (text === "return") {
      this.#next();
      const value = this.#peek().text === ";" ? undefined : this.#expression();
      this.#expect(";");
      return { line, kind: "return", value };
    }
    if (text === "break" || text === "continue") {
      this.#next();
      this.#expect(";");
      return { line, kind: text };
    }
    const simple = this.#simple();
    this.#expect(";");
    return simple;
  }

  #if(): Statement {
    const { line } = this.#peek();
    this.#expect("if");
    const condition = this.#expression();
    const yes = this.#block();
    const no = this.#take("else") ? (this.#peek().text === "if" ? [this.#if()] : this.#block()) : [];
    return { line, kind: "if", condition, yes, no };
  }

  #for(): Statement {
    const { line } = this.#peek();
    this.#expect("for");
    this.#expect("(");
    const first = this.#peek().text === ";" ? undefined : this.#simple();
    this.#expect(";");
    const condition = this.#peek().text === ";" ? undefined : this.#expression();
    this.#expect(";");
    const next = this.#peek().text === ")" ? undefined : this.#simple();
    this.#expect(")");
    return { line, kind: "for", first, condition, next, body: this.#block() };
  }

  #switch(): Statement {
    const { line } = this.#peek();
    this.#expect("switch");
    const of = this.#expression();
    const cases: { values: Expression[]; body: Block }[] = [];
    this.#expect("{");
    while (!this.#take("}")) {
      const values: Expression[] = [];
      if (!this.#take("default")) {
        this.#expect("case");
        while (this.#peek().text !== ":" && this.#peek().text !== "{")
          if (!this.#take(",")) values.push(this.#expression());
      }
      this.#take(":");
      cases.push({ values, body: this.#block() });
    }
    return { line, kind: "switch", of, cases };
  }

  /** A declaration, an assignment or a call. */
  #simple(): Statement {
    const { line, text } = this.#peek();
    if (text === "var" || text === "let" || text === "const") {
      this.#next();
      const name = this.#next();
      const type = this.#take(":") ? this.#type() : undefined;
      return { line, kind: "declare", name, type, value: this.#take("=") ? this.#expression() : undefined };
    }
    const target = this.#unary();
    const operator = this.#peek().text;
    if (operator === "++" || operator === "--") {
      this.#next();
      const one: Expression = { line, kind: "number", value: 1, type: "int" };
      return { line, kind: "assign", target, operator: operator.slice(1), value: one };
    }
    if (operator === "=" || ASSIGNMENTS.has(operator)) {
      this.#next();
      return { line, kind: "assign", target, operator: operator.slice(0, -1), value: this.#expression() };
    }
    if (target.kind !== "call") throw this.#wrong("a statement is not understood");
    return { line, kind: "call", call: target };
  }

  #expression(): Expression {
    return this.#binary(0);
  }

  #binary(level: number): Expression {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (let operator = this.#operator(operators); operator !== undefined; operator = this.#operator(operators)) {
      const { line } = this.#peek();
      left = { line, kind: "binary", operator, left, right: this.#binary(level + 1) };
    }
    return left;
  }

  /** Takes one of these operators, if it is next; those that begin with `>` are several tokens. */
  #operator(operators: readonly string[]): string | undefined {
    let { text } = this.#peek();
    let tokens = 1;
    if (text === ">") {
      const [first, second] = this.#tokens.slice(this.#at, this.#at + 2);
      if (first !== undefined && second?.at === first.at + 1 && (second.text === ">" || second.text === "=")) {
        text += second.text;
        tokens = 2;
      }
    }
    if (!operators.includes(text)) return undefined;
    this.#at += tokens;
    return text;
  }

  #unary(): Expression {
    const { line, text } = this.#peek();
    if (text === "-" || text === "!" || text === "~" || text === "*" || text === "&") {
      this.#next();
      return { line, kind: "unary", operator: text, of: this.#unary() };
    }
    let of = this.#primary();
    for (;;) {
      if (this.#take("[")) {
        of = { line, kind: "index", of, at: this.#expression() };
        this.#expect("]");
      } else if (this.#take(".")) of = { line, kind: "member", of, name: this.#next() };
      else return of;
    }
  }

  #primary(): Expression {
    const { line, text, number } = this.#peek();
    if (this.#take("(")) {
      const inner = this.#expression();
      this.#expect(")");
      return inner;
    }
    if (number !== undefined) {
      this.#next();
      return { line, kind: "number", ...number };
    }
    if (text === "true" || text === "false") {
      this.#next();
      return { line, kind: "bool", value: text === "true" };
    }
    const callee = this.#type();
    if (!this.#take("(")) return { line, kind: "name", name: callee.name };
    const args: Expression[] = [];
    while (!this.#take(")")) if (!this.#take(",")) args.push(this.#expression());
    return { line, kind: "call", callee, args };
  }

  #peek(): Token {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new Error("the shader ends too early");
    return token;
  }

  #next(): string {
    const { text } = this.#peek();
    this.#at += 1;
    return text;
  }

  #take(text: string): boolean {
    if (this.#tokens[this.#at]?.text !== text) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#wrong(`${text} is missing`);
  }

  #wrong(what: string): Error {
    const { line, text } = this.#tokens[Math.min(this.#at, this.#tokens.length - 1)] ?? { line: 0, text: "" };
    return new Error(`line ${line}, at "${text}": ${what}`);
  }
}
