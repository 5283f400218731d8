import type { Expression, ModuleSyntax, NumberKind, TypeSyntax } from "./syntax.ts";

/** "int" and "float" are what literals without a suffix are until they meet another operand. */
export type ScalarKind = NumberKind | "bool";

export type Type =
  | { readonly kind: "scalar"; readonly of: ScalarKind }
  | { readonly kind: "vector"; readonly of: ScalarKind; readonly size: number }
  /** `count` is undefined for the end of a buffer. */
  | { readonly kind: "array"; readonly of: Type; readonly count: number | undefined }
  | { readonly kind: "struct"; readonly name: string; readonly members: readonly StructMember[] }
  | { readonly kind: "pointer"; readonly to: Type }
  | { readonly kind: "atomic" }
  | { readonly kind: "nothing" };

export interface StructMember {
  readonly name: string;
  readonly type: Type;
  /** Words before it in memory. */
  readonly at: number;
}

export const NOTHING: Type = { kind: "nothing" };

export function scalar(of: ScalarKind): Type {
  return { kind: "scalar", of };
}

export function vector(of: ScalarKind, size: number): Type {
  return { kind: "vector", of, size };
}

/** Is a value of this type an object, which must be copied where it is assigned? */
export function isComposite({ kind }: Type): boolean {
  return kind === "vector" || kind === "array" || kind === "struct";
}

const SCALARS: ReadonlySet<string> = new Set(["f32", "u32", "i32", "bool"]);

/** What the names of a module's types stand for. */
export class Types {
  readonly #module: ModuleSyntax;
  readonly #known = new Map<string, Type>();

  constructor(module: ModuleSyntax) {
    this.#module = module;
  }

  /** Is this the name of a type, which makes values of it? */
  isType({ name, types }: TypeSyntax): boolean {
    const { structs, aliases } = this.#module;
    return (
      SCALARS.has(name) ||
      /^vec[234]$/.test(name) ||
      name === "array" ||
      structs.has(name) ||
      aliases.has(name) ||
      (types.length > 0 && name !== "bitcast")
    );
  }

  get(syntax: TypeSyntax): Type {
    const { name, types, count } = syntax;
    const [first, second] = types;
    if (SCALARS.has(name)) return scalar(name as ScalarKind);
    if (name === "atomic") return { kind: "atomic" };
    if (name === "ptr" && second !== undefined) return { kind: "pointer", to: this.get(second) };
    if (name === "array" && first !== undefined) {
      return { kind: "array", of: this.get(first), count: count && this.#number(count) };
    }
    if (/^vec[234]$/.test(name) && first !== undefined) {
      const of = this.get(first);
      if (of.kind === "scalar") return vector(of.of, Number(name.slice(3)));
    }
    const alias = this.#module.aliases.get(name);
    return alias === undefined ? this.#struct(name) : this.get(alias);
  }

  #struct(name: string): Type {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const members: StructMember[] = [];
    let at = 0;
    for (const { name: member, type: syntax } of this.#module.structs.get(name) ?? []) {
      const type = this.get(syntax);
      at = Math.ceil(at / alignOf(type)) * alignOf(type);
      members.push({ name: member, type, at });
      at += wordsOf(type);
    }
    if (members.length === 0) throw new Error(`no type ${name}`);
    const struct: Type = { kind: "struct", name, members };
    this.#known.set(name, struct);
    return struct;
  }

  #number(of: Expression): number {
    if (of.kind === "number") return of.value;
    const constant = this.#module.constants.find(({ name }) => of.kind === "name" && name === of.name);
    if (constant === undefined) throw new Error(`line ${of.line}: the length of an array is not understood`);
    return this.#number(constant.value);
  }
}

/** Words of a value in memory. */
export function wordsOf(type: Type): number {
  if (type.kind === "vector") return type.size;
  if (type.kind === "array") return strideOf(type.of) * (type.count ?? 0);
  if (type.kind !== "struct") return 1;
  const last = type.members.at(-1);
  const align = alignOf(type);
  return last === undefined ? 0 : Math.ceil((last.at + wordsOf(last.type)) / align) * align;
}

/** Words from one element of an array to the next. */
export function strideOf(type: Type): number {
  const align = alignOf(type);
  return Math.ceil(wordsOf(type) / align) * align;
}

function alignOf(type: Type): number {
  if (type.kind === "vector") return type.size === 2 ? 2 : 4;
  if (type.kind === "array") return alignOf(type.of);
  if (type.kind === "struct") return Math.max(...type.members.map(({ type: member }) => alignOf(member)));
  return 1;
}
