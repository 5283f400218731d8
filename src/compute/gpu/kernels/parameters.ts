const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

/** The bits of `value` as an f32. */
function f32(value: number): number {
  scratch[0] = value;
  return bits[0] ?? 0;
}

/** Two whole numbers: of a `vec2<u32>`, or where a matrix begins and how far apart its rows are. */
export type Pair = readonly [number, number];

/** What the members of a uniform struct are given as. */
interface MemberValues {
  readonly u32: number;
  readonly f32: number;
  /** A u32 that is 1 or 0. */
  readonly flag: boolean;
  /** A `vec2<u32>`. */
  readonly vec2u: Pair;
  /** Two u32 in WGSL, NAME_at and NAME_pitch: what lies before the first element, and from row to row. */
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

/** The struct of a kernel's parameters as WGSL declares it, names with underlines. */
export function declaration(members: UniformMembers): string {
  const lines = Object.entries(members).flatMap(([name, kind]) => {
    const inWgsl = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (kind === "place") return [`  ${inWgsl}_at: u32,`, `  ${inWgsl}_pitch: u32,`];
    return [`  ${inWgsl}: ${kind === "flag" ? "u32" : kind === "vec2u" ? "vec2<u32>" : kind},`];
  });
  return ["struct Parameters {", ...lines, "}"].join("\n");
}

/** The packer of a kernel's parameters, padded to whole 16 bytes; {@link declaration} has the same as WGSL. */
export function uniformStruct<const M extends UniformMembers>(members: M): UniformStruct<M> {
  let words = 0;
  const layout = Object.entries(members).map(([name, kind]) => {
    if (kind === "vec2u") words = Math.ceil(words / 2) * 2;
    const at = words;
    words += kind === "vec2u" || kind === "place" ? 2 : 1;
    return { name, kind, at };
  });
  const length = Math.ceil(words / 4) * 4;
  const pack = (values: Readonly<Record<string, number | boolean | Pair>>) => {
    const packed = new Uint32Array(length);
    for (const { name, kind, at } of layout) {
      const value = values[name];
      if (typeof value === "number") packed[at] = kind === "f32" ? f32(value) : value;
      else if (typeof value === "object") {
        packed[at] = value[0];
        packed[at + 1] = value[1];
      } else packed[at] = value === true ? 1 : 0;
    }
    return packed;
  };
  return Object.assign(pack, { members });
}
