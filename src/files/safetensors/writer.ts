import { RandloraError } from "../errors.ts";
import { type Dtype, dtypeBytes } from "./dtype.ts";
import { quote } from "../failure.ts";
import { PlannedFile } from "../planned-file.ts";
import {
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  shapeElements,
  type TensorFile,
  type TensorInfo,
  type WholeTensor,
} from "./header.ts";

/** A tensor that will be written. A {@link TensorInfo} is one. */
export interface PlannedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** Sizes of the dimensions, outermost first. */
  readonly shape: readonly number[];
  /** The tensor of the file that it has rows of: those of all follow each other. */
  readonly whole?: WholeTensor | undefined;
}

/** The tensors that a file has of these. */
export function wholeTensors(tensors: readonly PlannedTensor[]): PlannedTensor[] {
  const wholes: PlannedTensor[] = [];
  for (const { whole, ...tensor } of tensors) {
    if (whole === undefined) wholes.push(tensor);
    else if (wholes.at(-1)?.name !== whole.name) wholes.push({ ...whole, dtype: tensor.dtype });
  }
  return wholes;
}

/** What a header records beside the tensors: key → text. */
export type Metadata = ReadonlyMap<string, string>;

/** A good size for a copying buffer, in bytes. */
export const COPY_BYTES = 8 << 20;

/** Stored bytes of a planned tensor. Throws `RandloraError` "format" when they are not a safe integer. */
export function plannedBytes(tensor: PlannedTensor): number {
  const bytes = shapeElements(tensor.shape) * dtypeBytes(tensor.dtype);
  if (Number.isSafeInteger(bytes) && tensor.shape.every((size) => size >= 0)) return bytes;
  throw new RandloraError("format", `tensor ${quote(tensor.name)}: shape [${tensor.shape.join(", ")}] is not valid`);
}

/**
 * The length field and the header for tensors stored one after another in the given order, padded with spaces so that
 * the data starts at a multiple of 8 as the reference implementation does; metadata comes first, if there is any.
 * Throws `RandloraError` "format" for a name that occurs twice or that no header can hold.
 */
export function encodeHeader(
  tensors: readonly PlannedTensor[],
  metadata: Metadata = new Map(),
): Uint8Array<ArrayBuffer> {
  const entries: string[] = [];
  if (metadata.size > 0) {
    const pairs = Array.from(metadata, ([key, text]) => `${encodeText(key)}:${encodeText(text)}`);
    entries.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  const names = new Set(["__metadata__"]);
  let offset = 0;
  for (const tensor of wholeTensors(tensors)) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) throw new RandloraError("format", `two tensors would be called ${quote(name)}`);
    names.add(name);
    const end = offset + plannedBytes(tensor);
    if (!Number.isSafeInteger(end)) throw new RandloraError("format", `tensor ${quote(name)} ends beyond 2^53 bytes`);
    entries.push(
      `${encodeText(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${offset},${end}]}`,
    );
    offset = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new RandloraError("format", `a header of ${length} bytes is longer than the ${MAX_HEADER_BYTES} allowed`);
  }
  const bytes = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}

/** Writes one safetensors file as a stream: header first, then the tensors' bytes in the planned order. */
export class SafetensorsWriter extends PlannedFile {
  /** Creates `path`, replacing a file of that name, and writes the header. Throws `RandloraError` "file", "format". */
  static async create(
    path: string,
    tensors: readonly PlannedTensor[],
    metadata?: Metadata,
  ): Promise<SafetensorsWriter> {
    const header = encodeHeader(tensors, metadata);
    const parts = tensors.map((tensor) => ({ name: tensor.name, bytes: plannedBytes(tensor), padding: 0 }));
    return new SafetensorsWriter(await PlannedFile.begin(path, header, parts), parts);
  }

  /**
   * Appends all of `tensor` of `source` byte for byte, through `buffer` ({@link COPY_BYTES} is a good size), of which
   * one half is read while the other is written. `onPiece` is told the bytes of each piece; what it throws ends the copy.
   */
  async copy(
    source: Pick<TensorFile, "read">,
    tensor: TensorInfo,
    buffer: Uint8Array,
    onPiece?: (bytes: number) => void,
  ): Promise<void> {
    await copyTensor(this, source, tensor, buffer, onPiece);
  }
}

/** What takes a tensor's bytes one after another. */
interface Appends {
  append(name: string, bytes: Uint8Array): Promise<void>;
}

/** {@link SafetensorsWriter.copy} into anything that takes a tensor's bytes. */
export async function copyTensor(
  to: Appends,
  source: Pick<TensorFile, "read">,
  tensor: TensorInfo,
  buffer: Uint8Array,
  onPiece?: (bytes: number) => void,
): Promise<void> {
  const half = buffer.length >> 1;
  if (half === 0) throw new RangeError("a copying buffer has at least 2 bytes");
  let writing: Promise<void> = Promise.resolve();
  for (let start = 0, side = 0; start < tensor.bytes; start += half, side ^= 1) {
    const length = Math.min(half, tensor.bytes - start);
    const piece = buffer.subarray(side * half, side * half + length);
    // Both have ended before either's failure is thrown: the caller may then reuse the buffer and close the files.
    const ended = await Promise.allSettled([writing, source.read(tensor, piece, start)]);
    for (const result of ended) if (result.status === "rejected") throw result.reason;
    onPiece?.(length);
    writing = to.append(tensor.name, piece);
  }
  await writing;
}

/** JSON text of a string; one that is not valid Unicode could not be read back. */
function encodeText(text: string): string {
  if (!text.isWellFormed()) throw new RandloraError("format", `${quote(text)} is not valid Unicode`);
  return JSON.stringify(text);
}
