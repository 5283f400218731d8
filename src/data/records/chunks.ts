import { type FileHandle, open } from "node:fs/promises";
import { naming } from "../../files/failure.ts";

const CHUNK_BYTES = 1 << 20;

/** A file that is read piece by piece, from the start. Disposing closes it, however much was read. */
export class ChunkedFile implements AsyncDisposable {
  readonly path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** @throws {RandloraError} `file` when it cannot be opened */
  static async open(path: string): Promise<ChunkedFile> {
    return new ChunkedFile(path, await naming(path, "read", open(path)));
  }

  /** All bytes. @throws {RandloraError} `file` when they cannot be read */
  async *chunks(): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (;;) {
      const chunk = await this.read(CHUNK_BYTES, at);
      if (chunk.length === 0) return;
      at += chunk.length;
      yield chunk;
    }
  }

  /** At most `length` bytes from `at` on; none only at the end of the file. */
  async read(length: number, at = 0): Promise<Uint8Array> {
    const buffer = new Uint8Array(length);
    const { bytesRead } = await naming(this.path, "read", this.#handle.read(buffer, 0, length, at));
    return buffer.subarray(0, bytesRead);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
