import { type Code, scalarOf, sizeOf, united, unitedKinds, type Vectors } from "./code.ts";
import { bitcast, componentwise } from "./operators.ts";
import type { Expression, FunctionSyntax } from "./syntax.ts";
import { NOTHING, scalar, type ScalarKind, type Type, type Types, vector } from "./types.ts";

/** What calls may come to. */
export interface Callables {
  readonly types: Types;
  readonly functions: ReadonlyMap<string, FunctionSyntax>;
  /** Functions that wait for others at a barrier. */
  readonly waiting: ReadonlySet<string>;
  /** The number of the next barrier, or undefined where it is taken out. */
  nextBarrier(name: string, line: number): number | undefined;
}

/** What builtins on packed numbers give. */
const PACKED: Readonly<Record<string, Type>> = {
  dot4I8Packed: scalar("i32"),
  pack4xI8: scalar("u32"),
  unpack2x16float: vector("f32", 2),
};

/** Calls of functions, of builtins, and of types, which make values. */
export class Calls {
  readonly #on: Callables;
  readonly #vectors: Vectors;
  /** Compiles an argument. */
  readonly #value: (expression: Expression) => Code;

  constructor(on: Callables, vectors: Vectors, value: (expression: Expression) => Code) {
    this.#on = on;
    this.#vectors = vectors;
    this.#value = value;
  }

  compile({ callee, args, line }: Expression & { readonly kind: "call" }): Code {
    const { name, types } = callee;
    const declared = this.#on.functions.get(name);
    if (declared !== undefined) {
      const given = declared.args.map(({ type }, index) =>
        this.#vectors.as(this.#argument(args, index), this.#on.types.get(type)),
      );
      const type = declared.result === undefined ? NOTHING : this.#on.types.get(declared.result);
      return { type, js: `${this.#on.waiting.has(name) ? "(yield*" : "("}$${name}(${given.join(",")}))` };
    }
    if (name === "bitcast") {
      const [target] = types;
      if (target === undefined) throw new Error("bitcast without a type");
      const [code, to] = [this.#argument(args, 0), this.#on.types.get(target)];
      const [from, into] = [scalarOf(code.type), scalarOf(to)];
      return { type: to, js: this.#vectors.mapped(`bitcast_${from}_${into}`, bitcast(from, into), sizeOf(to), [code]) };
    }
    if (this.#on.types.isType(callee))
      return this.#construct(
        this.#on.types.get(callee),
        args.map((arg) => this.#value(arg)),
      );
    return this.#builtin(name, args, line);
  }

  #argument(args: readonly Expression[], index: number): Code {
    const argument = args[index];
    if (argument === undefined) throw new Error("an argument is missing");
    return this.#value(argument);
  }

  #construct(type: Type, parts: readonly Code[]): Code {
    if (type.kind === "struct") {
      return {
        type,
        js: `[${type.members.map((member, at) => this.#vectors.as(given(parts, at), member.type)).join(",")}]`,
      };
    }
    if (type.kind === "scalar") return { type, js: this.#vectors.converted(given(parts, 0), type.of).js };
    if (type.kind !== "vector") throw new Error("a value of this type cannot be made");
    const converted = parts.map((part) => this.#vectors.converted(part, type.of));
    const [only] = converted;
    if (only !== undefined && converted.length === 1) {
      if (only.type.kind === "vector") return { type, js: only.js };
      const key = `splat_${type.size}`;
      this.#vectors.helpers.set(key, `a=>[${Array.from({ length: type.size }, () => "a").join(",")}]`);
      return { type, js: `${key}(${only.js})` };
    }
    return {
      type,
      js: `[${converted.map((part) => (part.type.kind === "vector" ? `...${part.js}` : part.js)).join(",")}]`,
    };
  }

  #builtin(name: string, args: readonly Expression[], line: number): Code {
    if (name === "workgroupBarrier" || name === "storageBarrier") {
      const barrier = this.#on.nextBarrier(name, line);
      return { type: NOTHING, js: barrier === undefined ? "0" : `(yield ${barrier})` };
    }
    if (name === "workgroupUniformLoad") {
      const [before, after] = [this.#on.nextBarrier(name, line), this.#on.nextBarrier(name, line)];
      const { place, js, type } = this.#pointee(args);
      if (place?.space !== "memory") throw new Error("workgroupUniformLoad of what is no workgroup memory");
      if (before === undefined || after === undefined) return { type, js };
      return { type, js: `(yield* uniformLoad(${before},()=>${js},${after}))` };
    }
    if (name.startsWith("atomic")) {
      const { place } = this.#pointee(args);
      if (place?.space !== "memory") throw new Error(`${name} of what is no memory`);
      const rest = args.slice(1).map((arg) => `,${this.#value(arg).js}`);
      return { type: scalar("u32"), js: `R.${name}(${place.memory},${place.at}${rest.join("")},${line})` };
    }
    const codes = args.map((arg) => this.#value(arg));
    const packed = PACKED[name];
    if (packed !== undefined) {
      const js = `R.${name}(${codes.map((code) => code.js).join(",")})`;
      return { type: packed, js: this.#vectors.marked(name, sizeOf(packed), codes, js) };
    }
    if (name === "any") return { type: scalar("bool"), js: `${given(codes, 0).js}.includes(true)` };
    if (name === "all") return { type: scalar("bool"), js: `!${given(codes, 0).js}.includes(false)` };
    if (name === "dot") return this.#dot(given(codes, 0), given(codes, 1));
    if (name === "select") return this.#select(codes);
    const template = componentwise(name);
    if (template === undefined) throw new Error(`${name} is not known`);
    const of = codes
      .map(({ type }) => type)
      .reduce<ScalarKind>((kind, type) => unitedKinds(kind, scalarOf(type)), "int");
    const kind = of === "int" || of === "float" ? "f32" : of;
    const size = codes.map(({ type }) => sizeOf(type)).find((found) => found !== undefined);
    const js = this.#vectors.mapped(
      `${name}_${kind}`,
      template,
      size,
      codes.map((code) => this.#vectors.converted(code, kind)),
    );
    return { type: size === undefined ? scalar(kind) : vector(kind, size), js };
  }

  #pointee(args: readonly Expression[]): Code {
    const [pointer] = args;
    if (pointer?.kind !== "unary" || pointer.operator !== "&") throw new Error("a pointer is missing");
    return this.#value(pointer.of);
  }

  #dot(a: Code, b: Code): Code {
    const size = sizeOf(a.type) ?? 0;
    const key = `dot_${size}`;
    const sum = Array.from({ length: size }, (_, at) => `F(a[${at}]*b[${at}])`).reduce(
      (left, right) => `F(${left}+${right})`,
    );
    this.#vectors.helpers.set(key, `(a,b)=>${sum}`);
    return { type: scalar("f32"), js: this.#vectors.marked("fma_f32", size, [a, b], `${key}(${a.js},${b.js})`) };
  }

  #select(codes: readonly Code[]): Code {
    const [no, yes, condition] = [given(codes, 0), given(codes, 1), given(codes, 2)];
    const of = united(no.type, yes.type);
    const [a, b] = [this.#vectors.converted(no, of), this.#vectors.converted(yes, of)];
    if (sizeOf(condition.type) === undefined) {
      const js = `R.choose(${a.js},${b.js},${condition.js})`;
      return { type: a.type, js: this.#vectors.marked(`select_${of}`, sizeOf(a.type), [a, b, condition], js) };
    }
    return {
      type: a.type,
      js: this.#vectors.mapped(`select_${of}`, (x, y, c) => `(${c}?${y}:${x})`, sizeOf(a.type), [a, b, condition]),
    };
  }
}

function given(codes: readonly Code[], index: number): Code {
  const code = codes[index];
  if (code === undefined) throw new Error("an argument is missing");
  return code;
}
