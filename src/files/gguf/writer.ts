import { PlannedFile } from "../planned-file.ts";
import {
  GGUF_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_TYPES,
  GGUF_VALUE_BYTES,
  GGUF_VALUE_KINDS,
  GGUF_VERSION,
  ggufBytes,
  type GgufMetadata,
  type GgufTensor,
  type GgufValue,
  type GgufValueKind,
} from "./format.ts";

/** Writes one GGUF file: metadata and tensor list first, then the tensors' bytes in the planned order, or in any. */
export class GgufWriter extends PlannedFile {
  /** Creates `path`, replacing a file of that name, and writes what stands before the tensors. Throws `RandloraError` "file". */
  static async create(
    path: string,
    metadata: GgufMetadata,
    tensors: readonly GgufTensor[],
    inAnyOrder = false,
  ): Promise<GgufWriter> {
    const header = encodeGgufHeader(metadata, tensors);
    const parts = tensors.map((tensor) => {
      const bytes = ggufBytes(tensor);
      return { name: tensor.name, bytes, padding: aligned(bytes) - bytes };
    });
    return new GgufWriter(await PlannedFile.begin(path, header, parts, inAnyOrder), parts);
  }
}

/** Everything of a GGUF file before its tensors' bytes, padded to where they begin. */
export function encodeGgufHeader(metadata: GgufMetadata, tensors: readonly GgufTensor[]): Uint8Array {
  const out = new Bytes();
  out.u32(GGUF_MAGIC).u32(GGUF_VERSION).u64(tensors.length).u64(metadata.size);
  for (const [key, value] of metadata) writeValue(out.string(key), value);
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name).u32(tensor.shape.length);
    for (const size of tensor.shape.toReversed()) out.u64(size);
    out.u32(GGUF_TYPES[tensor.type].code).u64(offset);
    offset += aligned(ggufBytes(tensor));
  }
  return out.padded(GGUF_ALIGNMENT);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / GGUF_ALIGNMENT) * GGUF_ALIGNMENT;
}

function writeValue(out: Bytes, value: GgufValue): void {
  out.u32(GGUF_VALUE_KINDS[value.kind]);
  if (value.kind === "string") out.string(value.value);
  else if (value.kind !== "array") out.number(value.kind, Number(value.value));
  else {
    out.u32(GGUF_VALUE_KINDS[value.of]).u64(value.value.length);
    if (value.of === "string") for (const text of value.value) out.string(text);
    else for (const one of Array.from<number | boolean>(value.value)) out.number(value.of, Number(one));
  }
}

/** Bytes that grow. Each call returns the object. */
class Bytes {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #encoder = new TextEncoder();

  u32(value: number): this {
    return this.number("u32", value);
  }

  u64(value: number): this {
    return this.number("u64", value);
  }

  string(text: string): this {
    const bytes = this.#encoder.encode(text);
    this.u64(bytes.length);
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  number(kind: Exclude<GgufValueKind, "string" | "array">, value: number): this {
    const at = this.#take(GGUF_VALUE_BYTES[kind]);
    const view = this.#view;
    if (kind === "u8" || kind === "bool") view.setUint8(at, value);
    else if (kind === "i8") view.setInt8(at, value);
    else if (kind === "u16") view.setUint16(at, value, true);
    else if (kind === "i16") view.setInt16(at, value, true);
    else if (kind === "u32") view.setUint32(at, value, true);
    else if (kind === "i32") view.setInt32(at, value, true);
    else if (kind === "f32") view.setFloat32(at, value, true);
    else if (kind === "f64") view.setFloat64(at, value, true);
    else if (kind === "u64") view.setBigUint64(at, BigInt(value), true);
    else view.setBigInt64(at, BigInt(value), true);
    return this;
  }

  /** Everything so far and zeros up to a multiple of `alignment`. */
  padded(alignment: number): Uint8Array {
    const behind = Math.ceil(this.#length / alignment) * alignment - this.#length;
    this.#take(behind);
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room for so many bytes, all zero, and returns where they begin. */
  #take(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
