import { type FileHandle, open, stat } from "node:fs/promises";
import { RandloraError } from "./errors.ts";
import { naming, oneLine } from "./failure.ts";

// One read call never asks for more: systems stop at 2 GB, and a signal then waits no longer than this.
const MAX_READ = 1 << 28;

/** A file that is open, of which nothing is known yet. */
export interface OpenedFile {
  readonly path: string;
  /** Bytes of it when it was opened. */
  readonly size: number;
  readonly handle: FileHandle;
  /** Fills `out` from `position` on; a file that ends before is an error, not a short result. Throws `RandloraError` "file". */
  readonly read: (out: Uint8Array, position: number) => Promise<void>;
}

/** Bytes of a file that belong together. */
interface Stretch {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * One open file with a header, read by positioned reads: memory holds the header and the caller's buffers, never the file.
 * Use with `await using`, or call {@link close}.
 */
export class RangedFile implements AsyncDisposable {
  readonly path: string;
  /** Size of the file in bytes when it was opened. */
  readonly size: number;
  readonly #file: OpenedFile;
  #open = true;

  protected constructor(file: OpenedFile) {
    this.path = file.path;
    this.size = file.size;
    this.#file = file;
  }

  /** Opens `path` for what `make` makes of it. Throws `RandloraError` "file", and what `make` throws: it is closed then. */
  protected static async opening<T>(path: string, make: (file: OpenedFile) => Promise<T>): Promise<T> {
    // Opening a FIFO would wait for a writer for ever, so look before opening.
    if (!(await naming(path, "read", stat(path))).isFile()) {
      throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
    }
    const handle = await naming(path, "read", open(path, "r"));
    try {
      const { size } = await naming(path, "read", handle.stat());
      const read = (out: Uint8Array, position: number) => readFully(handle, path, out, position);
      return await make({ path, size, handle, read });
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  }

  /** Fills all of `out` with bytes of `of`, from its byte `start` on. Throws `RangeError`, `RandloraError` "file". */
  protected async readWithin({ name, offset, bytes }: Stretch, out: Uint8Array, start: number): Promise<void> {
    if (!Number.isSafeInteger(start) || start < 0 || start + out.length > bytes) {
      throw new RangeError(`bytes ${start} to ${start + out.length} of ${name}, which has ${bytes}`);
    }
    await this.#file.read(out, offset + start);
  }

  /** Closes the file; a second call does nothing. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

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
