import type { DeviceBuffer } from "../device/buffer.ts";

/** Bytes of a buffer that a command works on, and what it does with them. */
export interface Pointer {
  readonly buffer: DeviceBuffer;
  /** Bytes before the first one. */
  readonly offset: number;
  /** Bytes from there on that the command may touch. */
  readonly size: number;
  /** `write`: it writes them, and may read them. */
  readonly access: "read" | "write";
}

/** What the members of a kernel's parameters are given as. */
interface MemberValues {
  readonly u32: number;
  readonly f32: number;
  /** A u32 that is 1 or 0. */
  readonly flag: boolean;
  /** An address; 0 where it is left out. */
  readonly pointer: Pointer | undefined;
}

/** Members of a kernel's parameters: the fields of a class of the assembly, which `scripts/assembly-parameters.ts` makes of them. */
export type Members = Readonly<Record<string, keyof MemberValues>>;

export type Values<M extends Members> = { readonly [N in keyof M]: MemberValues[M[N]] };

/** A function of the module, and what it takes. */
export interface CpuKernel<M extends Members> {
  readonly name: string;
  readonly members: M;
  /** The one of machine code is meant, which adds up by FMA: other bits than the module's. */
  readonly fma?: true;
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

const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

/** Packs a kernel's parameters. */
export function pack<M extends Members>({ members }: CpuKernel<M>, values: Values<M>): Packed {
  const names = Object.keys(members);
  const words = new Uint32Array(names.length);
  const pointers: PlacedPointer[] = [];
  names.forEach((name, word) => {
    const value: MemberValues[keyof MemberValues] = values[name];
    if (typeof value === "number") {
      scratch[0] = value;
      words[word] = members[name] === "f32" ? (bits[0] ?? 0) : value;
    } else if (typeof value === "boolean") words[word] = Number(value);
    else if (value !== undefined) {
      words[word] = value.offset;
      pointers.push({ word, ...value });
    }
  });
  return { words, pointers };
}
