import { type Callables, Calls } from "./calls.ts";
import {
  type Code,
  component,
  element,
  loaded,
  type Place,
  scalarOf,
  sizeOf,
  united,
  Vectors,
  viewOf,
} from "./code.ts";
import { unmarked } from "./costs.ts";
import { binaryTemplate, isComparison, unaryTemplate } from "./operators.ts";
import type { Expression } from "./syntax.ts";
import { isComposite, scalar, type ScalarKind, strideOf, type Type, vector } from "./types.ts";

/** What a name means. */
export type Meaning =
  | { readonly kind: "local" | "constant" | "pointer"; readonly js: string; readonly type: Type }
  | { readonly kind: "memory"; readonly memory: string; readonly type: Type };

export interface Surroundings extends Callables {
  meaning(name: string): Meaning | undefined;
}

const COMPONENTS = "xyzw";

export class Expressions {
  readonly vectors: Vectors;
  readonly #on: Surroundings;
  readonly #calls: Calls;

  /** @param marks operations are marked with what they cost */
  constructor(on: Surroundings, marks: boolean) {
    this.#on = on;
    this.vectors = new Vectors(marks);
    this.#calls = new Calls(on, this.vectors, (expression) => this.compile(expression));
  }

  compile(expression: Expression): Code {
    const { line } = expression;
    try {
      return this.#compile(expression);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw message.startsWith("line ") ? cause : new Error(`line ${line}: ${message}`, { cause });
    }
  }

  /** JavaScript of an expression as a value of this type; a copy where it is an object. */
  valueOf(expression: Expression, type: Type): string {
    const code = this.compile(expression);
    const copied = code.place !== undefined && code.place.space === "local" && isComposite(code.type);
    return copied ? `structuredCopy(${code.js})` : this.vectors.as(code, type);
  }

  /** JavaScript that assigns. */
  store(place: Place, type: Type, js: string, line: number): string {
    if (place.space === "local") return `${place.js}=${js}`;
    const { memory, at, component } = place;
    const view = JSON.stringify(viewOf(type));
    if (component !== undefined) {
      return `R.storeComponent(${memory},${view},[${at},${component.size},${component.index}],${js},${line})`;
    }
    if (type.kind === "scalar") return `R.put(${memory},${view},${at},${js},${line})`;
    return `R.store(${memory},${view},${at},${js},${line})`;
  }

  binary(operator: string, left: Code, right: Code): Code {
    const of = operator === "<<" || operator === ">>" ? scalarOf(left.type) : united(left.type, right.type);
    const [a, b] = [left, right].map((side) =>
      this.vectors.converted(side, side === right && /<<|>>/.test(operator) ? "u32" : of),
    );
    if (a === undefined || b === undefined) throw new Error(`${operator}: operands are missing`);
    const size = sizeOf(left.type) ?? sizeOf(right.type);
    const js = this.vectors.mapped(`${NAMES[operator] ?? ""}_${of}`, binaryTemplate(operator, of), size, [a, b]);
    const result: ScalarKind = isComparison(operator) ? "bool" : of;
    return { type: size === undefined ? scalar(result) : vector(result, size), js };
  }

  #compile(expression: Expression): Code {
    switch (expression.kind) {
      case "number":
        return {
          type: scalar(expression.type),
          js: `${expression.type === "f32" ? Math.fround(expression.value) : expression.value}`,
        };
      case "bool":
        return { type: scalar("bool"), js: `${expression.value}` };
      case "name":
        return this.#name(expression.name, expression.line);
      case "member":
        return this.#member(this.compile(expression.of), expression.name, expression.line);
      case "index":
        return this.#index(this.compile(expression.of), this.compile(expression.at), expression.line);
      case "unary":
        return this.#unary(expression.operator, expression.of);
      case "binary":
        return this.#binaryOf(expression);
      case "call":
        return this.#calls.compile(expression);
    }
  }

  #binaryOf({ operator, left, right }: Expression & { readonly kind: "binary" }): Code {
    return this.binary(operator, this.compile(left), this.compile(right));
  }

  #name(name: string, line: number): Code {
    const meaning = this.#on.meaning(name);
    if (meaning === undefined) throw new Error(`${name} is not known`);
    if (meaning.kind === "memory")
      return loaded(meaning.type, { space: "memory", memory: meaning.memory, at: "0" }, line);
    const { js, type, kind } = meaning;
    return kind === "local" ? { type, js, place: { space: "local", js } } : { type, js };
  }

  #member(of: Code, name: string, line: number): Code {
    const { type, place } = of;
    if (type.kind === "struct") {
      const index = type.members.findIndex((member) => member.name === name);
      const member = type.members[index];
      if (member === undefined) throw new Error(`${type.name} has no ${name}`);
      if (place?.space === "memory") return loaded(member.type, { ...place, at: `${place.at}+${member.at}` }, line);
      return element(of, member.type, `${index}`);
    }
    if (type.kind !== "vector") throw new Error(`.${name} of what has no members`);
    const indices = [...name].map((letter) => COMPONENTS.indexOf(letter));
    const [first = 0] = indices;
    if (indices.length === 1) return component(of, type, `${first}`, line);
    const key = `swizzle_${name}`;
    this.vectors.helpers.set(key, `a=>[${indices.map((index) => `a[${index}]`).join(",")}]`);
    return { type: vector(type.of, indices.length), js: `${key}(${of.js})` };
  }

  #index(of: Code, at: Code, line: number): Code {
    const { type, place } = of;
    if (type.kind === "array" && place?.space === "memory") {
      const { memory, at: base } = place;
      // A card's addressing does most of what an index takes.
      const index = `${memory}.at(${base},${unmarked(at.js)},${strideOf(type.of)},${type.count},${line})`;
      return loaded(type.of, { space: "memory", memory, at: index }, line);
    }
    const count = type.kind === "array" ? type.count : type.kind === "vector" ? type.size : undefined;
    if (count === undefined) throw new Error("an index into what has no elements");
    const isConstant = /^\d+$/.test(at.js) && Number(at.js) < count;
    const js = isConstant ? at.js : `R.within(${at.js},${count},report,${line})`;
    if (type.kind === "vector") return component(of, type, js, line);
    if (type.kind === "array") return element(of, type.of, js);
    throw new Error("an index into what has no elements");
  }

  #unary(operator: string, of: Expression): Code {
    const code = this.compile(of);
    const { type } = code;
    if (operator === "*") {
      if (type.kind !== "pointer") throw new Error("* of what is no pointer");
      const js = isComposite(type.to) ? code.js : `${code.js}[0]`;
      return { type: type.to, js, place: { space: "local", js } };
    }
    if (operator === "&") {
      // An object is its own pointer. Of numbers the pointer is read only.
      return { type: { kind: "pointer", to: type }, js: isComposite(type) ? code.js : `[${code.js}]` };
    }
    const kind = scalarOf(type);
    const name = `${{ "-": "minus", "!": "not", "~": "flip" }[operator] ?? operator}_${kind}`;
    return { type, js: this.vectors.mapped(name, unaryTemplate(operator, kind), sizeOf(type), [code]) };
  }
}

const NAMES: Readonly<Record<string, string>> = {
  "+": "plus",
  "-": "minus_",
  "*": "times",
  "/": "over",
  "%": "modulo",
  "&": "and",
  "|": "or",
  "^": "xor",
  "<<": "left",
  ">>": "right",
  "==": "equal",
  "!=": "unequal",
  "<": "less",
  ">": "more",
  "<=": "most",
  ">=": "least",
  "&&": "both",
  "||": "either",
};
