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
  /** The same as it is given: what matrix.wgsl and gemv-operands.wgsl count follows from the operand's format. */
  readonly place: Pair;
}

/** Members of a uniform struct, in their order and without padding; names in camel case. */
export type UniformMembers = Readonly<Record<string, keyof MemberValues>>;

export type UniformValues<M extends UniformMembers> = { readonly [N in keyof M]: MemberValues[M[N]] };

/** Packs a uniform struct's values, by name. */
export interface UniformStruct<M extends UniformMembers> {
  (values: UniformValues<M>): Uint32Array<ArrayBuffer>;
  readonly members: M;
}

/** A kernel ready to be compiled, and how its parameters are packed. */
export interface GpuKernel<M extends UniformMembers> extends KernelSource {
  readonly parameters: UniformStruct<M>;
}

/** Does this kind say where a matrix lies? */
function isPlace(kind: keyof MemberValues): boolean {
  return kind === "vectors" || kind === "elements" || kind === "place";
}

/** The struct of a kernel's parameters as WGSL declares it, names with underlines. */
export function declaration(members: UniformMembers): string {
  const lines = Object.entries(members).flatMap(([name, kind]) => {
    const inWgsl = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (isPlace(kind)) return [`  ${inWgsl}_at: u32,`, `  ${inWgsl}_pitch: u32,`];
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
  const pack = (values: Readonly<Record<string, MemberValues[keyof MemberValues]>>) => {
    const packed = new Uint32Array(length);
    for (const { name, kind, at } of layout) {
      const value = values[name];
      const unit = kind === "vectors" || kind === "inVectors" ? 4 : 1;
      if (typeof value === "number") packed[at] = kind === "f32" ? f32(value) : value / unit;
      else if (typeof value !== "object") packed[at] = value === true ? 1 : 0;
      else {
        const [first, second] = "offset" in value ? [value.offset / unit, value.pitch / unit] : value;
        packed[at] = first;
        packed[at + 1] = second;
      }
    }
    return packed;
  };
  return Object.assign(pack, { members });
}
