import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import {
  GGUF_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_TYPES,
  GGUF_VALUE_BYTES,
  GGUF_VALUE_KINDS,
  ggufBytes,
  type GgufTensor,
  type GgufType,
  type GgufValue,
  type GgufValueKind,
} from "./format.ts";

/** A tensor of a file: everything has been checked against the file's size. */
export interface GgufTensorInfo extends GgufTensor {
  /** Position of the first byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
}

/** More bytes of the file are needed. */
export class ShortHeader extends Error {}

/** Far above every model: what a damaged file says would fill the memory. */
const MOST_TENSORS = 1 << 17;
const MOST_PAIRS = 1 << 14;
/** Of all lists of the metadata together: ten times what the largest vocabularies have with their merges and scores. */
const MOST_VALUES = 1 << 23;
const MOST_DIMENSIONS = 4;
const MOST_NAME_BYTES = 1 << 10;
const LARGEST_ALIGNMENT = 1 << 20;

/** Types that others write (ggml.h), for messages. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  12: "Q4_K",
  13: "Q5_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  34: "TQ1_0",
  35: "TQ2_0",
};

const TYPE_OF = new Map<number, GgufType>();
for (const name of Object.keys(GGUF_TYPES)) if (isGgufType(name)) TYPE_OF.set(GGUF_TYPES[name].code, name);
const KIND_OF = new Map<number, GgufValueKind>();
for (const name of Object.keys(GGUF_VALUE_KINDS)) if (isKind(name)) KIND_OF.set(GGUF_VALUE_KINDS[name], name);

/**
 * The header of a GGUF file of `size` bytes, from its first bytes.
 * @param file is only named in errors
 * @throws ShortHeader when they are too few; RandloraError `format` for what cannot be, `model` for a tensor type that is
 *   not supported
 */
export function parseGgufHeader(bytes: Uint8Array, file: string, size: number): GgufHeader {
  const reader = new Reader(bytes, file);
  if (reader.u32() !== GGUF_MAGIC) throw reader.refusal("this is not a GGUF file", "check the path");
  const version = reader.u32();
  if (version !== 3 && version !== 2) {
    throw reader.refusal(`GGUF of version ${version}, or of another byte order`, "versions 2 and 3 are supported");
  }
  const tensorCount = reader.count(MOST_TENSORS, "tensors");
  const pairCount = reader.count(MOST_PAIRS, "metadata entries");
  const metadata = new Map<string, GgufValue>();
  for (let pair = 0; pair < pairCount; pair++) {
    const key = reader.name();
    if (metadata.has(key)) throw reader.refusal(`metadata entry ${quote(key)} is there twice`);
    metadata.set(key, reader.value(key));
  }
  const listed = Array.from({ length: tensorCount }, () => reader.tensor());
  const alignment = alignmentOf(metadata, reader);
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensorInfo>();
  for (const { offset, ...tensor } of listed) {
    if (tensors.has(tensor.name)) throw reader.refusal(`tensor ${quote(tensor.name)} is there twice`);
    if (offset % alignment !== 0) throw reader.refusal(`tensor ${quote(tensor.name)} is not aligned`);
    const length = ggufBytes(tensor);
    tensors.set(tensor.name, { ...tensor, offset: dataStart + offset, bytes: length });
  }
  checkRanges([...tensors.values()], size, reader);
  return { metadata, tensors };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, reader: Reader): number {
  const given = metadata.get("general.alignment");
  if (given === undefined) return GGUF_ALIGNMENT;
  const { value } = given;
  if (typeof value === "number" && value > 0 && value <= LARGEST_ALIGNMENT && (value & (value - 1)) === 0) return value;
  throw reader.refusal("general.alignment is no power of two");
}

function checkRanges(tensors: readonly GgufTensorInfo[], size: number, reader: Reader): void {
  let end = 0;
  let before = "";
  for (const { name, offset, bytes } of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (offset < end) throw reader.refusal(`tensors ${quote(before)} and ${quote(name)} overlap`);
    if (offset + bytes > size) throw reader.refusal(`the file ends before tensor ${quote(name)} does`);
    end = offset + bytes;
    before = name;
  }
}

/** Reads a header front to back. */
class Reader {
  position = 0;
  #values = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(bytes: Uint8Array, file: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#file = file;
  }

  refusal(cause: string, hint = "the file is damaged: download or copy it again"): RandloraError {
    return new RandloraError("format", `${oneLine(this.#file)}: ${cause}`, hint);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.refusal(`a size of ${value}`);
    return Number(value);
  }

  count(most: number, what: string): number {
    const count = this.u64();
    if (count > most) throw this.refusal(`${count} ${what}, more than the ${most} that are allowed`);
    return count;
  }

  /** Bytes that are no UTF-8 become U+FFFD: vocabularies may hold some. */
  string(): string {
    const length = this.u64();
    const at = this.#take(length);
    return this.#decoder.decode(this.#bytes.subarray(at, at + length));
  }

  name(): string {
    const length = this.count(MOST_NAME_BYTES, "bytes of a name");
    const at = this.#take(length);
    return this.#decoder.decode(this.#bytes.subarray(at, at + length));
  }

  value(key: string): GgufValue {
    const kind = this.#kind(key);
    if (kind === "string") return { kind, value: this.string() };
    if (kind === "bool") return { kind, value: this.#number(kind) !== 0 };
    if (kind !== "array") return { kind, value: this.#number(kind) };
    const of = this.#kind(key);
    if (of === "array") throw this.refusal(`${quote(key)} is an array of arrays`);
    const length = this.u64();
    this.#values += length;
    if (this.#values > MOST_VALUES) {
      throw this.refusal(`${quote(key)}: the metadata's lists hold more than ${MOST_VALUES} values`);
    }
    // So many values take so many bytes at least: no memory is spent on what the file does not hold.
    this.#require(length * (of === "string" ? 8 : GGUF_VALUE_BYTES[of]));
    if (of === "string") return { kind, of, value: Array.from({ length }, () => this.string()) };
    if (of === "bool") return { kind, of, value: Array.from({ length }, () => this.#number(of) !== 0) };
    return { kind, of, value: Array.from({ length }, () => this.#number(of)) };
  }

  tensor(): GgufTensor & { readonly offset: number } {
    const name = this.name();
    const dimensions = this.u32();
    if (dimensions > MOST_DIMENSIONS) throw this.refusal(`tensor ${quote(name)} has ${dimensions} dimensions`);
    const shape = Array.from({ length: dimensions }, () => this.u64()).toReversed();
    const code = this.u32();
    const offset = this.u64();
    const type = TYPE_OF.get(code);
    if (type === undefined) {
      const cause = `tensor ${quote(name)} is ${OTHER_TYPES[code] ?? `of type ${code}`}, which is not supported`;
      const hint = `supported: ${[...TYPE_OF.values()].join(", ")}; take the model's Q8_0 or F16 file`;
      throw new RandloraError("model", `${oneLine(this.#file)}: ${cause}`, hint);
    }
    const count = shape.reduce((product, size) => product * size, 1);
    const { elements, bytes } = GGUF_TYPES[type];
    if ((shape.at(-1) ?? 1) % elements !== 0 || !Number.isSafeInteger(count * bytes)) {
      throw this.refusal(`tensor ${quote(name)}: shape [${shape.join(", ")}] is not valid for ${type}`);
    }
    return { name, shape, type, offset };
  }

  #kind(key: string): GgufValueKind {
    const code = this.u32();
    const kind = KIND_OF.get(code);
    if (kind === undefined) throw this.refusal(`${quote(key)} is a value of an unknown kind, ${code}`);
    return kind;
  }

  #number(kind: Exclude<GgufValueKind, "string" | "array">): number {
    const at = this.#take(GGUF_VALUE_BYTES[kind]);
    const view = this.#view;
    if (kind === "u8" || kind === "bool") return view.getUint8(at);
    if (kind === "i8") return view.getInt8(at);
    if (kind === "u16") return view.getUint16(at, true);
    if (kind === "i16") return view.getInt16(at, true);
    if (kind === "u32") return view.getUint32(at, true);
    if (kind === "i32") return view.getInt32(at, true);
    if (kind === "f32") return view.getFloat32(at, true);
    if (kind === "f64") return view.getFloat64(at, true);
    return Number(kind === "u64" ? view.getBigUint64(at, true) : view.getBigInt64(at, true));
  }

  #take(count: number): number {
    this.#require(count);
    this.position += count;
    return this.position - count;
  }

  #require(count: number): void {
    if (count > this.#bytes.length - this.position) throw new ShortHeader();
  }
}

function isGgufType(name: string): name is GgufType {
  return Object.hasOwn(GGUF_TYPES, name);
}

function isKind(name: string): name is GgufValueKind {
  return Object.hasOwn(GGUF_VALUE_KINDS, name);
}
