import type { Tensor } from "../device/tensor.ts";
import { pitchBytes, type Pointer, pointer, scaled } from "./operands.ts";

/** What the members of a kernel's parameters are given as. Families give tensors: that the assembly counts bytes is nobody's business but this file's. */
interface MemberValues {
  readonly u32: number;
  readonly f32: number;
  /** A u32 that is 1 or 0. */
  readonly flag: boolean;
  /** An address; 0 where it is left out. */
  readonly pointer: Pointer | undefined;
  /** The same, of a tensor that is read or written. */
  readonly row: Tensor | undefined;
  readonly targetRow: Tensor | undefined;
  /** The same with the bytes from row to row, as NAMEPitch. */
  readonly matrix: Tensor | undefined;
  readonly target: Tensor | undefined;
  /** The same in any stored format, as NAMEDtype, and NAMEScales and NAMEScalesPitch of what is in blocks. */
  readonly stored: Tensor;
}

/** The words that a member is, by what follows its name there, and their types in the assembly. */
const ADDRESS = { "": "usize" } as const;
const ROWS = { ...ADDRESS, Pitch: "u32" } as const;
const WORDS = {
  u32: { "": "u32" },
  f32: { "": "f32" },
  flag: { "": "u32" },
  pointer: ADDRESS,
  row: ADDRESS,
  targetRow: ADDRESS,
  matrix: ROWS,
  target: ROWS,
  stored: { ...ROWS, Dtype: "u32", Scales: "usize", ScalesPitch: "u32" },
} as const satisfies { readonly [K in keyof MemberValues]: object };

type Kind = keyof MemberValues;

/** Members of a kernel's parameters: the fields of a class of the assembly, which `scripts/assembly-parameters.ts` makes of them. */
export type Members = Readonly<Record<string, Kind>>;

export type Values<M extends Members> = { readonly [N in keyof M]: MemberValues[M[N]] };

/** Something of each word of parameters. */
export type ByWord<M extends Members, T> = Readonly<
  Record<{ [N in keyof M & string]: `${N}${keyof (typeof WORDS)[M[N]] & string}` }[keyof M & string], T>
>;

/** Is this what a kernel takes, or a part of that? */
export function isMembers(value: unknown): value is Members {
  const kinds = typeof value === "object" && value !== null ? Object.values(value) : [];
  return kinds.length > 0 && kinds.every((kind) => typeof kind === "string" && kind in WORDS);
}

/** A function of the module, and what it takes. */
export interface CpuKernel<M extends Members> {
  readonly name: string;
  readonly members: M;
  /** The one of machine code is meant, which adds up by FMA: other bits than the module's. */
  readonly fma?: true;
}

export function cpuKernel<const M extends Members>(name: string, members: M): CpuKernel<M> {
  return { name, members };
}

/** A word of parameters that is an address in a buffer. */
export interface PlacedPointer extends Pointer {
  readonly word: number;
}

/** Parameters as words; those of addresses hold the offset in their buffer. */
interface Packed {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly pointers: readonly PlacedPointer[];
}

/** The words of parameters, in their order, as the assembly declares them. */
export function fieldsOf(members: Members): [name: string, type: string][] {
  return Object.entries(members).flatMap(([name, kind]) =>
    Object.entries(WORDS[kind]).map(([end, type]): [string, string] => [name + end, type]),
  );
}

/** Where each of them is, and how many there are. */
export function wordsOf<M extends Members>({ members }: CpuKernel<M>): ByWord<M, number> & { readonly count: number } {
  const fields = fieldsOf(members);
  const places = Object.fromEntries(fields.map(([name], word) => [name, word]));
  return { ...places, count: fields.length } as ByWord<M, number> & { readonly count: number };
}

const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

/** Packs a kernel's parameters. */
export function pack<M extends Members>({ name: op, members }: CpuKernel<M>, values: Values<M>): Packed {
  const words: number[] = [];
  const pointers: PlacedPointer[] = [];
  const place = (to: Pointer | undefined) => {
    if (to === undefined) return void words.push(0);
    const { buffer, offset, size, access } = to;
    pointers.push({ word: words.length, buffer, offset, size, access });
    words.push(offset);
  };
  for (const [name, kind] of Object.entries(members)) {
    const value: MemberValues[Kind] = values[name];
    if (typeof value === "number") {
      scratch[0] = value;
      words.push(kind === "f32" ? (bits[0] ?? 0) : value);
    } else if (typeof value === "boolean") words.push(Number(value));
    else if (value !== undefined && "access" in value) place(value);
    else {
      place(value && pointer(value, kind === "target" || kind === "targetRow" ? "write" : "read"));
      if ("Pitch" in WORDS[kind]) words.push(value === undefined ? 0 : pitchBytes(value));
      if (kind !== "stored" || value === undefined) continue;
      const { dtype, scales, scalesPitch } = scaled(op, value);
      words.push(dtype);
      place(scales);
      words.push(scalesPitch);
    }
  }
  return { words: new Uint32Array(words), pointers };
}
