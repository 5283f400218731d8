import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { type Dtype, dtypeBytes } from "./dtype.ts";
import { naming, oneLine, quote } from "../failure.ts";
import type { SafetensorsFile } from "./file.ts";
import { LENGTH_BYTES, MAX_HEADER_BYTES, shapeElements, type TensorInfo } from "./header.ts";

/** A tensor that will be written. A {@link TensorInfo} is one. */
export interface PlannedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** Sizes of the dimensions, outermost first. */
  readonly shape: readonly number[];
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
  for (const tensor of tensors) {
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

/**
 * Writes one safetensors file as a stream: header first, then the tensors' bytes in the planned order, each in as many
 * pieces as the caller likes. The file is only valid after {@link finish}: give it a temporary name (publish.ts).
 */
export class SafetensorsWriter implements AsyncDisposable {
  readonly path: string;
  /** Size in bytes of the finished file. */
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #tensors: readonly PlannedTensor[];
  #current = 0;
  #writtenOfCurrent = 0;
  #position: number;
  #open = true;

  private constructor(path: string, handle: FileHandle, tensors: readonly PlannedTensor[], headerBytes: number) {
    this.path = path;
    this.#handle = handle;
    this.#tensors = tensors;
    this.#position = headerBytes;
    this.size = tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), headerBytes);
  }

  /** Creates `path`, replacing a file of that name, and writes the header. Throws `RandloraError` "file", "format". */
  static async create(
    path: string,
    tensors: readonly PlannedTensor[],
    metadata?: Metadata,
  ): Promise<SafetensorsWriter> {
    const header = encodeHeader(tensors, metadata);
    const handle = await naming(path, "write", open(path, "w"));
    try {
      await writeFully(handle, path, header, 0);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
    return new SafetensorsWriter(path, handle, [...tensors], header.length);
  }

  /** Bytes written so far, the header included. */
  get written(): number {
    return this.#position;
  }

  /**
   * Appends `bytes` to the tensor called `name`, which must be the next planned one or the one being written. Resolves
   * when `bytes` may be used again; calls must not overlap. Throws `RandloraError` "file", or `RangeError` for bytes
   * that were not planned.
   */
  async append(name: string, bytes: Uint8Array): Promise<void> {
    this.#skipComplete(name);
    const tensor = this.#tensors[this.#current];
    if (tensor === undefined || tensor.name !== name) {
      throw new RangeError(`${oneLine(this.path)}: ${quote(name)} where ${quote(tensor?.name ?? "the end")} is due`);
    }
    const position = this.#position;
    if (this.#writtenOfCurrent + bytes.length > plannedBytes(tensor)) {
      throw new RangeError(`${oneLine(this.path)}: more bytes of ${quote(name)} than its ${plannedBytes(tensor)}`);
    }
    this.#writtenOfCurrent += bytes.length;
    this.#position += bytes.length;
    await writeFully(this.#handle, this.path, bytes, position);
  }

  /**
   * Appends all of `tensor` of `source` byte for byte, through `buffer` ({@link COPY_BYTES} is a good size), of which
   * one half is read while the other is written. `onPiece` is told the bytes of each piece; what it throws ends the copy.
   */
  async copy(
    source: SafetensorsFile,
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
      writing = this.append(tensor.name, piece);
    }
    await writing;
  }

  /**
   * Checks that every planned byte was written, waits until the disk has them, closes.
   * Throws `RandloraError` "file", or `RangeError` when bytes are missing.
   */
  async finish(): Promise<void> {
    this.#skipComplete(undefined);
    const missing = this.#tensors[this.#current];
    if (missing !== undefined) {
      const progress = `${this.#writtenOfCurrent} of ${plannedBytes(missing)} bytes`;
      throw new RangeError(`${oneLine(this.path)}: only ${progress} of ${quote(missing.name)} were written`);
    }
    await naming(this.path, "write", this.#handle.sync());
    await this.close();
  }

  /** Closes the file, finished or not; a second call does nothing. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await naming(this.path, "write", this.#handle.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Moves past complete tensors, but not past an empty one that `name` still means. */
  #skipComplete(name: string | undefined): void {
    for (;;) {
      const tensor = this.#tensors[this.#current];
      if (tensor === undefined || tensor.name === name || this.#writtenOfCurrent < plannedBytes(tensor)) return;
      this.#current++;
      this.#writtenOfCurrent = 0;
    }
  }
}

/** JSON text of a string; one that is not valid Unicode could not be read back. */
function encodeText(text: string): string {
  if (!text.isWellFormed()) throw new RandloraError("format", `${quote(text)} is not valid Unicode`);
  return JSON.stringify(text);
}

async function writeFully(handle: FileHandle, path: string, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await naming(
      path,
      "write",
      handle.write(bytes, done, bytes.length - done, position + done),
    );
    if (bytesWritten === 0) throw new RandloraError("file", `cannot write ${oneLine(path)}: nothing was accepted`);
    done += bytesWritten;
  }
}
