import type { Code } from "./code.ts";
import { type Tally, tallied, unmarked } from "./costs.ts";
import { Expressions, type Meaning, type Surroundings } from "./expressions.ts";
import { parseModule } from "./parse.ts";
import type { CheckedMemory, Report } from "./memory.ts";
import { RUNTIME } from "./runtime.ts";
import type { Block, FunctionSyntax, GlobalSyntax, ModuleSyntax, Statement } from "./syntax.ts";
import { NOTHING, scalar, type Type, Types, wordsOf } from "./types.ts";

/** A barrier of a shader: the two of `workgroupUniformLoad` count as one. */
export interface Barrier {
  readonly name: string;
  readonly line: number;
  /** The function that it stands in. */
  readonly in: string;
}

/** What an invocation gets. */
export type Builtins = Readonly<Record<string, number | readonly number[]>>;

export interface CompiledShader {
  readonly workgroupSize: readonly [number, number, number];
  readonly globals: readonly GlobalSyntax[];
  /** Words of a workgroup variable. */
  wordsOf(global: GlobalSyntax): number;
  readonly barriers: readonly Barrier[];
  /** What one invocation does; it yields the number of each barrier that it comes to. @param tally of what counts */
  bind(
    memories: ReadonlyMap<string, CheckedMemory>,
    report: Report,
    tally?: Tally,
  ): (builtins: Builtins) => Iterator<number, void> | undefined;
}

/** Turns of loops that one invocation may take: more are a loop without end. */
const MOST_TURNS = 5_000_000;

/**
 * Compiles a shader to JavaScript.
 * @param without leaves out this barrier
 * @param counts adds what operations cost to a tally
 * @throws Error naming the line
 */
export function compileShader(code: string, without?: number, counts = false): CompiledShader {
  return new Compiler(parseModule(code), without, counts).compiled();
}

class Compiler {
  readonly #module: ModuleSyntax;
  readonly #types: Types;
  readonly #functions: ReadonlyMap<string, FunctionSyntax>;
  readonly #waiting: ReadonlySet<string>;
  readonly #expressions: Expressions;
  readonly #barriers: Barrier[] = [];
  readonly #without: number | undefined;
  /** From the innermost block outwards. */
  #scopes: Map<string, Meaning>[] = [];
  #count = 0;
  #function = "";
  #result: Type = NOTHING;

  constructor(module: ModuleSyntax, without: number | undefined, counts: boolean) {
    this.#module = module;
    this.#without = without;
    this.#types = new Types(module);
    this.#functions = new Map(module.functions.map((declared) => [declared.name, declared]));
    this.#waiting = waitingFunctions(module.functions);
    const on: Surroundings = {
      types: this.#types,
      functions: this.#functions,
      waiting: this.#waiting,
      nextBarrier: (name, line) => this.#nextBarrier(name, line),
      meaning: (name) => this.#scopes.map((scope) => scope.get(name)).find((found) => found !== undefined),
    };
    this.#expressions = new Expressions(on, counts);
  }

  compiled(): CompiledShader {
    const { globals, constants, functions } = this.#module;
    const main = functions.find(({ workgroupSize: size }) => size !== undefined);
    if (main?.workgroupSize === undefined) throw new Error("no entry point");
    const outermost = new Map<string, Meaning>();
    this.#scopes = [outermost];
    for (const { name, type } of globals) {
      outermost.set(name, { kind: "memory", memory: `$${name}`, type: this.#types.get(type) });
    }
    const lines: string[] = [];
    for (const { name, value } of constants) {
      const { js, type } = this.#expressions.compile(value);
      lines.push(`const $${name}=${js};`);
      outermost.set(name, { kind: "constant", js: `$${name}`, type });
    }
    for (const declared of functions) lines.push(this.#functionOf(declared));
    const helpers = [...this.#expressions.vectors.helpers].map(([name, js]) => `const ${name}=${js};`);
    const memories = globals.map(({ name }) => `$${name}`);
    const source = [PRELUDE, ...helpers, ...lines, `return $${main.name};`].join("\n");
    const make = new Function("R", "report", ...memories, source) as (
      ...given: unknown[]
    ) => (...args: unknown[]) => unknown;
    const [x = 1, y = 1, z = 1] = main.workgroupSize;
    const isWaiting = this.#waiting.has(main.name);
    return {
      workgroupSize: [x, y, z],
      globals,
      barriers: this.#barriers,
      wordsOf: ({ type }) => wordsOf(this.#types.get(type)),
      bind(bound, report, tally) {
        const run = make({ ...RUNTIME, tally }, report, ...globals.map(({ name }) => bound.get(name)));
        return (builtins) => {
          const result = run(...main.args.map(({ builtin = "" }) => builtins[builtin]));
          return isWaiting ? (result as Iterator<number, void>) : undefined;
        };
      },
    };
  }

  #nextBarrier(name: string, line: number): number | undefined {
    const last = this.#barriers.at(-1);
    const isSecond = name === "workgroupUniformLoad" && last?.name === name && last.line === line;
    if (!isSecond) this.#barriers.push({ name, line, in: this.#function });
    const index = this.#barriers.length - 1;
    return index === this.#without ? undefined : index;
  }

  #functionOf({ name, args, result, body }: FunctionSyntax): string {
    this.#function = name;
    this.#result = result === undefined ? NOTHING : this.#types.get(result);
    const scope = new Map<string, Meaning>();
    const names = args.map(({ name: argument, type: syntax }) => {
      const type = this.#types.get(syntax);
      const js = this.#fresh(argument);
      scope.set(argument, { kind: type.kind === "pointer" ? "pointer" : "constant", js, type });
      return js;
    });
    const star = this.#waiting.has(name) ? "*" : "";
    return `function${star} $${name}(${names.join(",")}){let fuel=${MOST_TURNS};\n${this.#block(body, scope)}}`;
  }

  #block(body: Block, scope = new Map<string, Meaning>()): string {
    this.#scopes.unshift(scope);
    const lines = body.map((statement) => this.#statement(statement));
    this.#scopes.shift();
    return tallied(lines.join("\n")).join("");
  }

  #statement(statement: Statement): string {
    const { line } = statement;
    switch (statement.kind) {
      case "block":
        return `{${this.#block(statement.body)}}`;
      case "if": {
        const { condition, yes, no } = statement;
        return `if(${this.#expressions.compile(condition).js}){${this.#block(yes)}}else{${this.#block(no)}}`;
      }
      case "for":
        return this.#for(statement);
      case "switch": {
        const of = this.#expressions.compile(statement.of).js;
        const cases = statement.cases.map(({ values, body }) => {
          const labels = values.map((value) => `case ${this.#expressions.compile(value).js}:`);
          return `${labels.length === 0 ? "default:" : labels.join("")}{${this.#block(body)}break;}`;
        });
        return `switch(${of}){${cases.join("\n")}}`;
      }
      case "return":
        return statement.value === undefined
          ? "return;"
          : `return ${this.#expressions.valueOf(statement.value, this.#result)};`;
      case "break":
      case "continue":
        return `${statement.kind};`;
      case "declare":
        return this.#declaration(statement);
      case "assign":
        return `${this.#assignment(statement)};`;
      case "call":
        return `${this.#expressions.compile(statement.call).js};`;
    }
    throw new Error(`line ${line}: a statement is not understood`);
  }

  #for({ first, condition, next, body }: Statement & { readonly kind: "for" }): string {
    this.#scopes.unshift(new Map());
    const before = first === undefined ? "" : this.#statement(first);
    const holds = condition === undefined ? "true" : this.#expressions.compile(condition).js;
    const after = next === undefined ? "" : this.#statement(next).replace(/;$/, "");
    const inner = this.#block(body);
    this.#scopes.shift();
    const [cost] = tallied(holds + after);
    const head = `for(;${unmarked(holds)};${unmarked(after)})`;
    return `{${before}\n${head}{if(--fuel<0)throw new Error("a loop does not end");${cost}${inner}}}`;
  }

  #declaration({ name, type: syntax, value, line }: Statement & { readonly kind: "declare" }): string {
    const type = syntax === undefined ? undefined : this.#types.get(syntax);
    if (value === undefined) {
      if (type === undefined) throw new Error(`line ${line}: ${name} has no type`);
      return this.#declare(name, type, zeroOf(type));
    }
    const found = type ?? concrete(this.#expressions.compile(value));
    return this.#declare(name, found, this.#expressions.valueOf(value, found));
  }

  #declare(name: string, type: Type, js: string): string {
    const fresh = this.#fresh(name);
    this.#scopes[0]?.set(name, { kind: "local", js: fresh, type });
    return `let ${fresh}=${js};`;
  }

  #assignment({ target, operator, value, line }: Statement & { readonly kind: "assign" }): string {
    const to = this.#expressions.compile(target);
    if (to.place === undefined) throw new Error(`line ${line}: what is assigned to has no place`);
    if (operator === "")
      return this.#expressions.store(to.place, to.type, this.#expressions.valueOf(value, to.type), line);
    const { js } = this.#expressions.binary(operator, to, this.#expressions.compile(value));
    return this.#expressions.store(to.place, to.type, js, line);
  }

  #fresh(name: string): string {
    this.#count += 1;
    return `${name}$${this.#count}`;
  }
}

const PRELUDE = `"use strict";
// Subnormal numbers become zero, as some GPUs have it.
const F=(a)=>{const b=Math.fround(a);return b<1.1754943508222875e-38&&b>-1.1754943508222875e-38?0*b:b;};
const structuredCopy=(a)=>Array.isArray(a)?a.map(structuredCopy):a;
function* uniformLoad(before,load,after){yield before;const value=load();yield after;return value;}`;

/** The functions that come to a barrier, themselves or in what they call. */
function waitingFunctions(functions: readonly FunctionSyntax[]): Set<string> {
  const waiting = new Set(["workgroupBarrier", "storageBarrier", "workgroupUniformLoad"]);
  const calls = functions.map(
    ({ name, body }) =>
      [
        name,
        [...JSON.stringify(body).matchAll(/"callee":\{"name":"(\w+)"/g)].map(([, callee = ""]) => callee),
      ] as const,
  );
  for (let before = -1; before !== waiting.size;) {
    before = waiting.size;
    for (const [name, callees] of calls) if (callees.some((callee) => waiting.has(callee))) waiting.add(name);
  }
  return waiting;
}

/** The type of a variable that has none written beside it. */
function concrete({ type }: Code): Type {
  if (type.kind !== "scalar") return type;
  return type.of === "int" ? scalar("i32") : type.of === "float" ? scalar("f32") : type;
}

function zeroOf(type: Type): string {
  if (type.kind === "scalar") return type.of === "bool" ? "false" : "0";
  const { length, each } = partsOf(type);
  return `[${Array.from({ length }, (_, at) => zeroOf(each(at))).join(",")}]`;
}

function partsOf(type: Type): { readonly length: number; each(at: number): Type } {
  if (type.kind === "vector") return { length: type.size, each: () => scalar(type.of) };
  if (type.kind === "array") return { length: type.count ?? 0, each: () => type.of };
  if (type.kind === "struct") return { length: type.members.length, each: (at) => type.members[at]?.type ?? NOTHING };
  throw new Error(`a variable of ${type.kind}`);
}
