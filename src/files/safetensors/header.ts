import { RandloraError } from "../errors.ts";
import type { GgufBlocks } from "../gguf/format.ts";
import { type Dtype, DTYPES, dtypeBytes, isDtype } from "./dtype.ts";
import { oneLine, quote } from "../failure.ts";
import { isJsonObject, nestsDeeper, scanJson } from "../json.ts";

/** One tensor of a file, as its header describes it; everything has been checked against the file's size. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  /** Sizes of the dimensions, outermost first; empty for a scalar. Elements are row-major and little-endian. */
  readonly shape: readonly number[];
  /** Product of `shape`. */
  readonly elements: number;
  /** Position of the first byte, counted from the start of the file. */
  readonly offset: number;
  /** Stored bytes: `elements` × the size of `dtype`. */
  readonly bytes: number;
  /** What the tensor, which is read as numbers of `dtype`, is stored in. */
  readonly blocks?: { readonly dtype: GgufBlocks; readonly bytes: number };
  /** Of one that `dividedTensor` made: what the file has. */
  readonly whole?: WholeTensor;
  /** The file has its elements in another order: a range is read out of a whole matrix, of which the last one is kept. */
  readonly isReordered?: true;
  /** The tensors of files that it is read from, where those are others; see packed.ts. */
  readonly packed?: readonly string[];
}

/** A tensor of a file that is read, and written, as several: its rows, one after another. */
export interface WholeTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A checked header. */
export interface Header {
  /** The tensors in the order in which the header names them. */
  readonly tensors: readonly TensorInfo[];
  /** The same tensors in the order of their bytes in the file. */
  readonly byOffset: readonly TensorInfo[];
  /** `__metadata__`, empty when the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Position of the first byte after the header. */
  readonly dataStart: number;
}

/** A file of weights that is read by ranges: safetensors, or what else is presented as such. */
export interface TensorFile {
  readonly path: string;
  /** Bytes of the file. */
  readonly size: number;
  readonly header: Pick<Header, "tensors" | "byOffset" | "metadata">;
  /** Fills all of `out` with the bytes of `tensor` from its byte `start` on. */
  read(tensor: TensorInfo, out: Uint8Array, start?: number): Promise<void>;
  /** The same of its blocks, where it has `blocks`. */
  readBlocks?(tensor: TensorInfo, out: Uint8Array, start?: number): Promise<void>;
  close(): Promise<void>;
}

/** A tensor of a checkpoint: what reads it, and where it is. */
export interface CheckpointTensor {
  readonly file: Pick<TensorFile, "path" | "read" | "readBlocks">;
  readonly info: TensorInfo;
}

/** Bytes before the header: its length as a little-endian u64. */
export const LENGTH_BYTES = 8;

/** The largest header that is read or written, in bytes: the cap of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Characters of a tensor's name at most, several times those of any model: names are parted at their dots, beginning by beginning. */
const MOST_NAME = 1024;

const AGAIN = "the file is damaged or incomplete: download or copy it again";
const TENSOR_KEYS = ["dtype", "shape", "data_offsets"] as const;

/**
 * The header's length in bytes from the first 8 bytes of a file of `fileSize` bytes.
 * Throws `RandloraError` "format" when it cannot be right. `file` is only named in errors.
 */
export function parseHeaderLength(first: Uint8Array, file: string, fileSize: number): number {
  if (first.length < LENGTH_BYTES || fileSize < LENGTH_BYTES) {
    throw refusal(file, `${fileSize} bytes are too short for a safetensors file`, AGAIN);
  }
  const length = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const hint = "this is probably not a safetensors file";
    throw refusal(file, `header of ${length} bytes is longer than the ${MAX_HEADER_BYTES} that are allowed`, hint);
  }
  if (length > BigInt(fileSize - LENGTH_BYTES)) {
    throw refusal(file, `header of ${length} bytes does not fit in a file of ${fileSize} bytes`, AGAIN);
  }
  return Number(length);
}

/**
 * Reads a header strictly: `json` is the header without its length field, `fileSize` the size of the whole file.
 * Everything the format promises is checked, so that no later read can leave the file: known types, safe integers,
 * bytes = shape × type, offsets that cover the data without overlap, hole or rest, no name twice.
 * Throws `RandloraError` "format" naming `file`, the tensor and the cause.
 */
export function parseHeader(json: Uint8Array, file: string, fileSize: number): Header {
  const dataStart = LENGTH_BYTES + json.length;
  const dataBytes = fileSize - dataStart;
  const { root, keys } = parseJson(json, file);
  const tensors: TensorInfo[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const name of keys) {
    const value = root[name];
    if (name === "__metadata__") metadata = parseMetadata(value, file);
    else tensors.push(parseTensor(name, value, file, dataStart, dataBytes));
  }
  return { tensors, byOffset: checkLayout(tensors, file, dataStart, fileSize), metadata, dataStart };
}

function parseJson(
  json: Uint8Array,
  file: string,
): { root: Readonly<Record<string, unknown>>; keys: readonly string[] } {
  if (json[0] !== 0x7b) {
    throw refusal(file, "the header does not start with {", "this is probably not a safetensors file");
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch {
    throw refusal(file, "the header is not UTF-8", AGAIN);
  }
  // A tensor's entry has 49 characters and 3 brackets at least. Each more takes hundreds of bytes of memory.
  if (nestsDeeper(text, 3, text.length / 16 + 16)) {
    throw refusal(file, "the header nests more arrays and objects than tensors need", AGAIN);
  }
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (thrown) {
    throw refusal(file, `the header is not JSON (${thrown instanceof Error ? oneLine(thrown.message) : "?"})`, AGAIN);
  }
  if (!isJsonObject(root)) throw refusal(file, "the header is not a JSON object", AGAIN);
  const { keys, duplicate, oddNumber } = scanJson(text);
  if (duplicate !== undefined) throw refusal(file, `the header names ${duplicate.map(quote).join(" / ")} twice`, AGAIN);
  if (oddNumber !== undefined) {
    throw refusal(file, `the header holds the number ${quote(oddNumber)}, not a nonnegative integer`, AGAIN);
  }
  return { root, keys };
}

function parseMetadata(value: unknown, file: string): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  // The reference implementation takes null for "no metadata".
  if (value === null) return metadata;
  if (!isJsonObject(value)) throw refusal(file, "__metadata__ is not an object", AGAIN);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw refusal(file, `__metadata__ ${quote(key)} is not a string`, AGAIN);
    if (!key.isWellFormed() || !text.isWellFormed()) {
      throw refusal(file, `__metadata__ ${quote(key)} is not valid Unicode`, AGAIN);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function parseTensor(name: string, value: unknown, file: string, dataStart: number, dataBytes: number): TensorInfo {
  const refuse = (cause: string, hint = AGAIN) => refusal(file, `tensor ${quote(name)}: ${cause}`, hint);
  if (!name.isWellFormed()) throw refuse("the name is not valid Unicode");
  if (name.length > MOST_NAME) throw refuse(`the name has ${name.length} characters, more than ${MOST_NAME}`);
  if (!isJsonObject(value)) throw refuse("its description is not an object");
  for (const key of Object.keys(value)) {
    if (!TENSOR_KEYS.some((known) => known === key)) throw refuse(`unknown key ${quote(key)}`);
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw refuse("dtype is missing or not a string");
  if (!isDtype(dtype)) throw refuse(`unknown dtype ${quote(dtype)}`, `known are ${DTYPES.join(", ")}`);
  if (!isSizes(shape)) throw refuse("shape is not a list of nonnegative integers below 2^53");
  if (!isSizes(offsets) || offsets.length !== 2) throw refuse("data_offsets is not a pair of nonnegative integers");
  const [begin = 0, end = 0] = offsets;
  if (begin > end) throw refuse(`data_offsets end (${end}) before they begin (${begin})`);
  if (end > dataBytes) throw refuse(`its bytes ${begin} to ${end} lie outside the ${dataBytes} bytes of data`);
  const elements = shapeElements(shape);
  const bytes = elements * dtypeBytes(dtype);
  if (!Number.isSafeInteger(bytes)) throw refuse(`shape [${shape.join(", ")}] is too large`);
  if (bytes !== end - begin) {
    throw refuse(`${dtype} of shape [${shape.join(", ")}] takes ${bytes} bytes, but data_offsets give ${end - begin}`);
  }
  return { name, dtype, shape, elements, offset: dataStart + begin, bytes };
}

/** Sorts by position and refuses overlaps, holes and bytes that belong to no tensor. */
function checkLayout(tensors: readonly TensorInfo[], file: string, dataStart: number, fileSize: number): TensorInfo[] {
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let at = dataStart;
  let before: TensorInfo | undefined;
  for (const tensor of sorted) {
    if (tensor.offset !== at) {
      const after = before === undefined ? "the header" : `tensor ${quote(before.name)}`;
      const cause =
        tensor.offset < at ? `overlaps ${after}` : `leaves a hole of ${tensor.offset - at} bytes after ${after}`;
      throw refusal(file, `tensor ${quote(tensor.name)} ${cause}`, AGAIN);
    }
    at += tensor.bytes;
    before = tensor;
  }
  if (at !== fileSize) throw refusal(file, `the last ${fileSize - at} bytes belong to no tensor`, AGAIN);
  return sorted;
}

/** Product of the sizes; `Infinity` when it is not a safe integer at any step, as the reference counts. */
export function shapeElements(shape: readonly number[]): number {
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return Infinity;
  }
  return elements;
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function refusal(file: string, cause: string, hint: string): RandloraError {
  return new RandloraError("format", `${oneLine(file)}: ${cause}`, hint);
}
