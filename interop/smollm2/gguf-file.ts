import * as v from "valibot";
import { f16ToF32 } from "../../src/files/safetensors/numbers.ts";

/** Elements that share one scale, in both of the quantized types. */
const BLOCK = 32;
const DEFAULT_ALIGNMENT = 32;

/** By GGUF's numbers of tensor types (ggml.h): bytes of so many elements, and their values. */
const TYPES: Readonly<
  Record<number, { readonly bytes: number; readonly elements: number; readonly read: Dequantize }>
> = {
  0: { bytes: 4, elements: 1, read: (bytes, out) => new Uint8Array(out.buffer).set(bytes) },
  3: { bytes: 20, elements: BLOCK, read: readQ41 },
  8: { bytes: 34, elements: BLOCK, read: readQ80 },
};

type Dequantize = (bytes: Uint8Array, out: Float32Array<ArrayBuffer>) => void;

/** Q4_1: two f16, scale and offset, and 32 numbers of four bits, the first half in the lower bits. */
function readQ41(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let block = 0; block * BLOCK < out.length; block++) {
    const at = block * 20;
    const [scale, offset] = [f16ToF32(view.getUint16(at, true)), f16ToF32(view.getUint16(at + 2, true))];
    for (let i = 0; i < BLOCK / 2; i++) {
      const pair = view.getUint8(at + 4 + i);
      // The product of 11 and 4 bits is exact; storing the sum rounds it once, to f32.
      out[block * BLOCK + i] = scale * (pair & 15) + offset;
      out[block * BLOCK + BLOCK / 2 + i] = scale * (pair >> 4) + offset;
    }
  }
}

/** Q8_0: an f16 scale and 32 signed bytes. */
function readQ80(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let block = 0; block * BLOCK < out.length; block++) {
    const at = block * 34;
    const scale = f16ToF32(view.getUint16(at, true));
    for (let i = 0; i < BLOCK; i++) out[block * BLOCK + i] = scale * view.getInt8(at + 2 + i);
  }
}

interface Stored {
  /** As PyTorch has it: the fastest size last. */
  readonly shape: readonly number[];
  readonly type: number;
  readonly offset: number;
}

/** A GGUF file (version 3) in memory: its metadata, and its tensors as f32. */
export class GgufFile {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #tensors: ReadonlyMap<string, Stored>;
  readonly #data: Uint8Array;

  /** @throws {Error} for bytes that are no such file, or that end early */
  constructor(bytes: Uint8Array) {
    const reader = new Reader(bytes);
    if (reader.u32() !== 0x46554747 || reader.u32() !== 3) throw new Error("not GGUF of version 3");
    const [tensors, values] = [reader.u64(), reader.u64()];
    this.#values = new Map(Array.from({ length: values }, () => [reader.string(), reader.value(reader.u32())]));
    this.#tensors = new Map(
      Array.from({ length: tensors }, () => {
        const name = reader.string();
        const shape = Array.from({ length: reader.u32() }, () => reader.u64()).toReversed();
        return [name, { shape, type: reader.u32(), offset: reader.u64() }];
      }),
    );
    const alignment = this.has("general.alignment") ? this.get("general.alignment", v.number()) : DEFAULT_ALIGNMENT;
    this.#data = bytes.subarray(Math.ceil(reader.position / alignment) * alignment);
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** A value of the metadata, which must be of this kind. */
  get<T>(key: string, kind: v.GenericSchema<unknown, T>): T {
    return v.parse(kind, this.#values.get(key), { message: (issue) => `${key}: ${issue.message}` });
  }

  shapeOf(name: string): readonly number[] {
    return this.#stored(name).shape;
  }

  /** The numbers of a tensor, row by row, in f32. @throws {Error} where there is none, or in another type */
  read(name: string): Float32Array<ArrayBuffer> {
    const { shape, type, offset } = this.#stored(name);
    const layout = TYPES[type];
    if (layout === undefined) throw new Error(`${name}: tensors of type ${type} are not read`);
    const values = new Float32Array(shape.reduce((size, n) => size * n, 1));
    const end = offset + (values.length / layout.elements) * layout.bytes;
    if (!Number.isInteger(end) || end > this.#data.length) throw new Error(`${name}: incomplete`);
    layout.read(this.#data.subarray(offset, end), values);
    return values;
  }

  #stored(name: string): Stored {
    const stored = this.#tensors.get(name);
    if (stored === undefined) throw new Error(`no tensor ${name}`);
    return stored;
  }
}

/** Reads little-endian numbers and texts one after another. */
class Reader {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u32(): number {
    return this.#view.getUint32(this.#pass(4), true);
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.#pass(8), true));
  }

  string(): string {
    const length = this.u64();
    const start = this.#pass(length);
    return new TextDecoder("utf-8", { fatal: true }).decode(this.#bytes.subarray(start, start + length));
  }

  /** A value of a kind: GGUF's numbers. */
  value(kind: number): unknown {
    switch (kind) {
      case 4:
        return this.u32();
      case 5:
        return this.#view.getInt32(this.#pass(4), true);
      case 6:
        return this.#view.getFloat32(this.#pass(4), true);
      case 7:
        return this.#view.getUint8(this.#pass(1)) !== 0;
      case 8:
        return this.string();
      case 9: {
        const of = this.u32();
        return Array.from({ length: this.u64() }, () => this.value(of));
      }
      case 10:
        return this.u64();
      default:
        throw new Error(`values of kind ${kind} are not read`);
    }
  }

  #pass(bytes: number): number {
    const start = this.position;
    this.position += bytes;
    if (this.position > this.#bytes.length) throw new Error("incomplete");
    return start;
  }
}
