import { markOf } from "./costs.ts";
import { conversion, type Template } from "./operators.ts";
import { scalar, type ScalarKind, strideOf, type Type, vector } from "./types.ts";

/** Where a value lies, so that it can be changed. */
export type Place =
  | { readonly space: "local"; readonly js: string }
  /** `component`: one of a vector that begins at `at`. */
  | {
      readonly space: "memory";
      readonly memory: string;
      readonly at: string;
      readonly component?: { readonly size: number; readonly index: string };
    };

/** JavaScript of a value. */
export interface Code {
  readonly type: Type;
  readonly js: string;
  readonly place?: Place;
}

const VIEWS = { f32: "floats", i32: "integers", u32: "words" } as const;

/** Operations on vectors, each a JavaScript function that is made once. */
export class Vectors {
  readonly helpers = new Map<string, string>();
  /** Marks what operations cost, for `tallied`. */
  readonly #marks: boolean;

  constructor(marks: boolean) {
    this.#marks = marks;
  }

  /** JavaScript of an operation on so many components, marked with what it costs (costs.ts). */
  marked(name: string, size: number | undefined, operands: readonly Code[], js: string): string {
    return this.#marks ? `${markOf(name, size ?? 1, operands)}${js}` : js;
  }

  /** Applies a template to each component; numbers stand for all components of a vector. */
  mapped(name: string, template: Template, size: number | undefined, operands: readonly Code[]): string {
    if (size === undefined)
      return this.marked(name, size, operands, `(${template(...operands.map(({ js }) => `(${js})`))})`);
    const shape = operands.map(({ type }) => (type.kind === "vector" ? "v" : "s"));
    const key = `${name}_${size}_${shape.join("")}`;
    if (!this.helpers.has(key)) {
      const names = operands.map((_, at) => `a${at}`);
      const components = Array.from({ length: size }, (_, at) =>
        template(...names.map((operand, index) => (shape[index] === "v" ? `${operand}[${at}]` : operand))),
      );
      this.helpers.set(key, `(${names.join(",")})=>[${components.join(",")}]`);
    }
    return this.marked(name, size, operands, `${key}(${operands.map(({ js }) => js).join(",")})`);
  }

  /** A number, or a vector's numbers, of another kind. */
  converted(code: Code, to: ScalarKind): Code {
    const from = scalarOf(code.type);
    if (from === to) return code;
    const size = sizeOf(code.type);
    const js = this.mapped(`convert_${from}_${to}`, conversion(from, to), size, [code]);
    return { type: size === undefined ? scalar(to) : vector(to, size), js };
  }

  as(code: Code, type: Type): string {
    if (type.kind !== "scalar" && type.kind !== "vector") return code.js;
    return this.converted(code, type.of).js;
  }
}

export function viewOf(type: Type): "floats" | "integers" | "words" {
  const of = type.kind === "atomic" ? "u32" : scalarOf(type);
  if (of === "f32" || of === "i32" || of === "u32") return VIEWS[of];
  throw new Error(`no memory of ${of}`);
}

/** What lies in memory, read where it is used. */
export function loaded(type: Type, place: Place & { readonly space: "memory" }, line: number): Code {
  const { memory, at } = place;
  if (type.kind === "scalar") return { type, place, js: `${memory}.${viewOf(type)}[${memory}.reads(${at},1,${line})]` };
  if (type.kind === "vector")
    return { type, place, js: `R.load(${memory},"${viewOf(type)}",${at},${type.size},${line})` };
  // A whole array: what `workgroupUniformLoad` gives.
  const whole = type.kind === "array" ? arrayOf(type, place, line) : "undefined";
  return { type, place, js: whole };
}

function arrayOf(
  { of, count = 0 }: Type & { readonly kind: "array" },
  place: Place & { readonly space: "memory" },
  line: number,
): string {
  const elements = Array.from({ length: count > 64 ? 0 : count }, (_, index) =>
    loaded(of, { ...place, at: `${place.at}+${index * strideOf(of)}` }, line),
  );
  return `[${elements.map(({ js }) => js).join(",")}]`;
}

/** An element of a local array or struct. */
export function element(of: Code, type: Type, index: string): Code {
  const js = `${of.js}[${index}]`;
  return of.place === undefined ? { type, js } : { type, js, place: { space: "local", js } };
}

export function component(
  of: Code,
  { of: kind, size }: Type & { readonly kind: "vector" },
  index: string,
  line: number,
): Code {
  const { place } = of;
  const type = scalar(kind);
  if (place?.space !== "memory") return element(of, type, index);
  const { memory, at } = place;
  const js = `${memory}.${viewOf(type)}[${memory}.reads(${at}+${index},1,${line})]`;
  return { type, js, place: { space: "memory", memory, at, component: { size, index } } };
}

export function sizeOf(type: Type): number | undefined {
  return type.kind === "vector" ? type.size : undefined;
}

export function scalarOf(type: Type): ScalarKind {
  if (type.kind === "scalar" || type.kind === "vector") return type.of;
  throw new Error(`a number is missing: ${type.kind}`);
}

export function united(left: Type, right: Type): ScalarKind {
  return unitedKinds(scalarOf(left), scalarOf(right));
}

/** The kind of an operation's operands: what literals without a suffix become beside another. */
export function unitedKinds(left: ScalarKind, right: ScalarKind): ScalarKind {
  if (left === right || right === "int") return left;
  if (left === "int" || (left === "float" && right === "f32")) return right;
  if (right === "float" && left === "f32") return left;
  throw new Error(`${left} beside ${right}`);
}
