import { type FileHandle, open, stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { naming, oneLine } from "../failure.ts";
import { type GgufHeader, type GgufTensorInfo, parseGgufHeader, ShortHeader } from "./header.ts";

/** What is read of a file first, in bytes: the header of a small model. */
const FIRST_BYTES = 4 << 20;
/** The largest header that is read: 4 million tokens of a vocabulary with their merges. */
const MAX_HEADER_BYTES = 256 << 20;
/** One read call never asks for more. */
const MAX_READ = 1 << 28;

/**
 * One open GGUF file, read by positioned reads: memory holds the header, never the tensors. Use with `await using`, or
 * call {@link close}.
 */
export class GgufFile implements AsyncDisposable {
  readonly path: string;
  /** Bytes of the file when it was opened. */
  readonly size: number;
  readonly header: GgufHeader;
  readonly #handle: FileHandle;
  #open = true;

  private constructor(path: string, size: number, header: GgufHeader, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.header = header;
    this.#handle = handle;
  }

  /** Opens `path` and checks its whole header. Throws `RandloraError` "file" or "format". */
  static async open(path: string): Promise<GgufFile> {
    // Opening a FIFO would wait for a writer for ever, so look before opening.
    if (!(await naming(path, "read", stat(path))).isFile()) {
      throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
    }
    const handle = await naming(path, "read", open(path, "r"));
    try {
      const { size } = await naming(path, "read", handle.stat());
      return new GgufFile(path, size, await readHeader(handle, path, size), handle);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  /** Fills all of `out` with the bytes of `tensor` from its byte `start` on. Throws `RangeError`, `RandloraError` "file". */
  async read(tensor: GgufTensorInfo, out: Uint8Array, start = 0): Promise<void> {
    if (start < 0 || start + out.length > tensor.bytes) {
      throw new RangeError(`bytes ${start} to ${start + out.length} of ${tensor.name}, which has ${tensor.bytes}`);
    }
    await readFully(this.#handle, this.path, out, tensor.offset + start);
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

/** A file says nowhere how long its header is: as much is read as it turns out to need. */
async function readHeader(handle: FileHandle, path: string, size: number): Promise<GgufHeader> {
  for (let length = FIRST_BYTES; ; length *= 2) {
    const bytes = new Uint8Array(Math.min(length, size, MAX_HEADER_BYTES));
    await readFully(handle, path, bytes, 0);
    try {
      return parseGgufHeader(bytes, path, size);
    } catch (thrown) {
      if (!(thrown instanceof ShortHeader)) throw thrown;
      if (bytes.length < Math.min(size, MAX_HEADER_BYTES)) continue;
      const cause = bytes.length === size ? "the file is incomplete" : "its header is longer than 256 MiB";
      throw new RandloraError("format", `${oneLine(path)}: ${cause}`, "download or copy it again");
    }
  }
}

async function readFully(handle: FileHandle, path: string, out: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < out.length) {
    const length = Math.min(out.length - done, MAX_READ);
    const { bytesRead } = await naming(path, "read", handle.read(out, done, length, position + done));
    if (bytesRead === 0) {
      const cause = `${oneLine(path)}: the file ended at byte ${position + done}, it has become shorter`;
      throw new RandloraError("file", cause, "do not change files while they are being read");
    }
    done += bytesRead;
  }
}
