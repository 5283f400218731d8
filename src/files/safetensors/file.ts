import { type FileHandle, open, stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, quote } from "../failure.ts";
import {
  type Header,
  LENGTH_BYTES,
  parseHeader,
  parseHeaderLength,
  shapeElements,
  type TensorInfo,
  type WholeTensor,
} from "./header.ts";
import { dtypeBytes } from "./dtype.ts";

// One read call never asks for more: systems stop at 2 GB, and a signal then waits no longer than this.
const MAX_READ = 1 << 28;

/**
 * One open safetensors file, read by positioned reads: memory holds the header and the caller's buffers, never the
 * file. Use with `await using`, or call {@link close}.
 */
export class SafetensorsFile implements AsyncDisposable {
  readonly path: string;
  /** Size of the file in bytes when it was opened. */
  readonly size: number;
  readonly header: Header;
  readonly #handle: FileHandle;
  readonly #byName: Map<string, TensorInfo>;
  #open = true;

  private constructor(path: string, size: number, header: Header, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.header = header;
    this.#handle = handle;
    this.#byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** Opens `path` and checks its whole header. Throws `RandloraError` "file" or "format". */
  static async open(path: string): Promise<SafetensorsFile> {
    // Opening a FIFO would wait for a writer for ever, so look before opening.
    if (!(await naming(path, "read", stat(path))).isFile()) {
      throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
    }
    const handle = await naming(path, "read", open(path, "r"));
    try {
      const { size } = await naming(path, "read", handle.stat());
      const first = new Uint8Array(Math.min(LENGTH_BYTES, size));
      await readFully(handle, path, first, 0);
      const json = new Uint8Array(parseHeaderLength(first, path, size));
      await readFully(handle, path, json, LENGTH_BYTES);
      return new SafetensorsFile(path, size, parseHeader(json, path, size), handle);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  /** The tensor called `name`, or `undefined`. */
  find(name: string): TensorInfo | undefined {
    return this.#byName.get(name);
  }

  /** The tensor called `name`. Throws `RandloraError` "format" when there is none. */
  get(name: string): TensorInfo {
    const tensor = this.find(name);
    if (tensor === undefined) throw new RandloraError("format", `${oneLine(this.path)}: no tensor ${quote(name)}`);
    return tensor;
  }

  /**
   * Makes tensors of the rows of the one called `name`, which can be read from then on.
   * @param parts by their names in this file from now on, in the order of their rows, which are all of it
   */
  divide(name: string, parts: readonly WholeTensor[]): TensorInfo[] {
    const { shape: whole, dtype, offset: begin, bytes: all } = this.get(name);
    let offset = begin;
    const infos = parts.map(({ name: own, shape }): TensorInfo => {
      const elements = shapeElements(shape);
      const bytes = elements * dtypeBytes(dtype);
      const info = { name: own, dtype, shape, elements, offset, bytes, whole: { name, shape: whole } };
      offset += bytes;
      return info;
    });
    if (offset !== begin + all) throw new RangeError(`${name} has ${all} bytes, and its parts ${offset - begin}`);
    for (const info of infos) this.#byName.set(info.name, info);
    return infos;
  }

  /**
   * Fills all of `out` with the bytes of `tensor` that start `start` bytes after its first. Throws `RangeError` when
   * they are not all inside the tensor, and `RandloraError` "file" when the file has become shorter.
   */
  async read(tensor: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    if (!Number.isSafeInteger(start) || start < 0 || start + out.length > tensor.bytes) {
      throw new RangeError(`bytes ${start} to ${start + out.length} of ${tensor.name}, which has ${tensor.bytes}`);
    }
    if (this.#byName.get(tensor.name) !== tensor) throw new RangeError(`${tensor.name} is not of ${this.path}`);
    await readFully(this.#handle, this.path, out, tensor.offset + start);
  }

  /** All bytes of `tensor` in a new array: for small ones. Throws as {@link read}. */
  async readAll(tensor: TensorInfo): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(tensor.bytes);
    await this.read(tensor, out);
    return out;
  }

  /** Closes the file; a second call does nothing. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Fills `out` from `position` of the file; a file that ends before is an error, not a short result. */
async function readFully(handle: FileHandle, path: string, out: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < out.length) {
    const length = Math.min(MAX_READ, out.length - done);
    const { bytesRead } = await naming(path, "read", handle.read(out, done, length, position + done));
    if (bytesRead === 0) {
      const cause = `the file ended at byte ${position + done}, it has become shorter since it was opened`;
      throw new RandloraError("file", `cannot read ${oneLine(path)}: ${cause}`, "do not write to it meanwhile");
    }
    done += bytesRead;
  }
}
