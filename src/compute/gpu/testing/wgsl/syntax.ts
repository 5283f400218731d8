/** A type as it is written: `vec4<f32>`, `array<u32, 64>`, `Parameters`. */
export interface TypeSyntax {
  readonly name: string;
  readonly types: readonly TypeSyntax[];
  /** Of `array<T, N>`. */
  readonly count: Expression | undefined;
}

export type NumberKind = "f32" | "u32" | "i32" | "int" | "float";

export type Expression = { readonly line: number } & (
  | { readonly kind: "number"; readonly value: number; readonly type: NumberKind }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "name"; readonly name: string }
  /** A function, or what is made by a type's name. */
  | { readonly kind: "call"; readonly callee: TypeSyntax; readonly args: readonly Expression[] }
  | { readonly kind: "member"; readonly of: Expression; readonly name: string }
  | { readonly kind: "index"; readonly of: Expression; readonly at: Expression }
  | { readonly kind: "unary"; readonly operator: string; readonly of: Expression }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Expression; readonly right: Expression }
);

export type Block = readonly Statement[];

export type Statement = { readonly line: number } & (
  | {
      readonly kind: "declare";
      readonly name: string;
      readonly type: TypeSyntax | undefined;
      readonly value: Expression | undefined;
    }
  /** `operator` is "" for a plain assignment. */
  | { readonly kind: "assign"; readonly target: Expression; readonly operator: string; readonly value: Expression }
  | { readonly kind: "call"; readonly call: Expression }
  | { readonly kind: "block"; readonly body: Block }
  | { readonly kind: "if"; readonly condition: Expression; readonly yes: Block; readonly no: Block }
  | {
      readonly kind: "for";
      readonly first: Statement | undefined;
      readonly condition: Expression | undefined;
      readonly next: Statement | undefined;
      readonly body: Block;
    }
  /** The values of a case are empty for the default. */
  | {
      readonly kind: "switch";
      readonly of: Expression;
      readonly cases: readonly { readonly values: readonly Expression[]; readonly body: Block }[];
    }
  | { readonly kind: "return"; readonly value: Expression | undefined }
  | { readonly kind: "break" }
  | { readonly kind: "continue" }
);

export interface Member {
  readonly name: string;
  readonly type: TypeSyntax;
}

export interface Argument extends Member {
  readonly builtin: string | undefined;
}

export interface FunctionSyntax {
  readonly name: string;
  readonly args: readonly Argument[];
  readonly result: TypeSyntax | undefined;
  readonly body: Block;
  /** Of an entry point: invocations along x, y and z. */
  readonly workgroupSize: readonly number[] | undefined;
}

/** A variable of a module. */
export interface GlobalSyntax extends Member {
  readonly space: "workgroup" | "storage" | "uniform";
  readonly writable: boolean;
  readonly binding: number | undefined;
}

export interface ModuleSyntax {
  readonly structs: ReadonlyMap<string, readonly Member[]>;
  readonly aliases: ReadonlyMap<string, TypeSyntax>;
  readonly constants: readonly { readonly name: string; readonly value: Expression }[];
  readonly globals: readonly GlobalSyntax[];
  readonly functions: readonly FunctionSyntax[];
}
