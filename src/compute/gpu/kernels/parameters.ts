import type { Binding } from "../../device/buffer.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { KernelSource } from "../pipelines.ts";

const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

/** The bits of `value` as an f32. */
function f32(value: number): number {
  scratch[0] = value;
  return bits[0] ?? 0;
}

/** Two whole numbers. */
export type Pair = readonly [number, number];

/** Where a matrix begins, and how far apart its rows are. Families count elements; what kernels count is said where their parameters are declared. */
export interface Located {
  readonly offset: number;
  readonly pitch: number;
}

/** What the members of a uniform struct are given as. */
interface MemberValues {
  readonly u32: number;
  readonly f32: number;
  /** A u32 that is 1 or 0. */
  readonly flag: boolean;
  /** A `vec2<u32>`. */
  readonly vec2u: Pair;
  /** A u32: of so many elements, vectors of 4. */
  readonly inVectors: number;
  /** Two u32 in WGSL, NAME_at and NAME_pitch: vectors of 4 before the first element, and from row to row; zeros for an operand that was left out. */
  readonly vectors: Located | undefined;
  /** The same in elements. */
  readonly elements: Located | undefined;
  /** NAME_at alone, of vectors or of elements. */
  readonly vectorsAt: Pick<Located, "offset"> | undefined;
  readonly elementsAt: Pick<Located, "offset"> | undefined;
  /** The same as it is given: what matrix.wgsl and gemv-operands.wgsl count follows from the operand's format. */
  readonly place: Pair | { readonly place: Pair };
}

/** Bits of one u32, by name. */
type Flags = Readonly<Record<string, number>>;

type Kind = keyof MemberValues | Flags;

/** What a member of this kind is given as; flags that are not named are off. */
type ValueOf<K extends Kind> = K extends keyof MemberValues ? MemberValues[K] : { readonly [F in keyof K]?: boolean };

/** Members of a uniform struct, in their order and without padding; names in camel case. */
export type UniformMembers = Readonly<Record<string, Kind>>;

export type UniformValues<M extends UniformMembers> = { readonly [N in keyof M]: ValueOf<M[N]> };

/** What a kernel is bound to: of a tensor its whole buffer, of a block its own; undefined: something that is not read. */
export type Operand = Tensor | { readonly binding: Binding | undefined } | Binding | undefined;

/** The names among bindings without the question mark of those that may be left out. */
type Needed<B extends string> = B extends `${string}?` ? never : B;
type Optional<B extends string> = B extends `${infer N}?` ? N : never;

/** What a binding is given as: where a parameter says its place, something that has one. */
type BoundTo<M extends UniformMembers, N extends string> = N extends keyof M ? ValueOf<M[N]> & Operand : Operand;

/** What a kernel runs on, by name: its parameters and what it is bound to. */
export type KernelValues<M extends UniformMembers, B extends string> = UniformValues<
  Omit<M, Needed<B> | Optional<B>>
> & {
  readonly [N in Needed<B>]: NonNullable<BoundTo<M, N>>;
} & { readonly [N in Optional<B>]?: BoundTo<M, N> | undefined };

/** Packs a uniform struct's values, by name. */
export interface UniformStruct<M extends UniformMembers> {
  (values: UniformValues<M>): Uint32Array<ArrayBuffer>;
  readonly members: M;
}

/** A kernel ready to be compiled, how its parameters are packed, and its bindings 1, 2, … by name. */
export interface GpuKernel<M extends UniformMembers, B extends string = string> extends KernelSource {
  readonly parameters: UniformStruct<M>;
  readonly bindings: readonly B[];
}

/** The values of a kernel of this type. */
export type KernelValuesOf<K> = K extends GpuKernel<infer M, infer B> ? KernelValues<M, B> : never;

/** Does this kind say where a matrix lies, in two words? */
function isPlace(kind: Kind): boolean {
  return kind === "vectors" || kind === "elements" || kind === "place";
}

/** The struct of a kernel's parameters as WGSL declares it, names with underlines. */
export function declaration(members: UniformMembers): string {
  const lines = Object.entries(members).flatMap(([name, kind]) => {
    const inWgsl = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (isPlace(kind)) return [`  ${inWgsl}_at: u32,`, `  ${inWgsl}_pitch: u32,`];
    if (kind === "vectorsAt" || kind === "elementsAt") return [`  ${inWgsl}_at: u32,`];
    return [`  ${inWgsl}: ${kind === "vec2u" ? "vec2<u32>" : kind === "f32" ? kind : "u32"},`];
  });
  return ["struct Parameters {", ...lines, "}"].join("\n");
}

/** The packer of a kernel's parameters, padded to whole 16 bytes; {@link declaration} has the same as WGSL. */
export function uniformStruct<const M extends UniformMembers>(members: M): UniformStruct<M> {
  let words = 0;
  const layout = Object.entries(members).map(([name, kind]) => {
    if (kind === "vec2u") words = Math.ceil(words / 2) * 2;
    const at = words;
    words += kind === "vec2u" || isPlace(kind) ? 2 : 1;
    return { name, kind, at };
  });
  const length = Math.ceil(words / 4) * 4;
  const pack = (values: Readonly<Record<string, ValueOf<Kind>>>) => {
    const packed = new Uint32Array(length);
    for (const { name, kind, at } of layout) {
      const value = values[name];
      if (typeof kind === "object") packed[at] = bitsOf(kind, value as ValueOf<Flags>); // as the kind says
      else packed.set(wordsOf(kind, value as MemberValues[keyof MemberValues]), at);
    }
    return packed;
  };
  return Object.assign(pack, { members });
}

function bitsOf(flags: Flags, on: ValueOf<Flags>): number {
  return Object.entries(flags).reduce((bits, [name, bit]) => (on[name] === true ? bits | bit : bits), 0);
}

function wordsOf(kind: keyof MemberValues, value: MemberValues[keyof MemberValues]): readonly number[] {
  const unit = kind.startsWith("vectors") || kind === "inVectors" ? 4 : 1;
  if (typeof value === "number") return [kind === "f32" ? f32(value) : value / unit];
  if (typeof value !== "object") return [value === true ? 1 : 0];
  if ("place" in value) return value.place;
  if (!("offset" in value)) return value;
  return "pitch" in value && isPlace(kind) ? [value.offset / unit, value.pitch / unit] : [value.offset / unit];
}
