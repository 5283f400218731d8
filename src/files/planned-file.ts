import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "./errors.ts";
import { naming, oneLine, quote } from "./failure.ts";

/** A tensor's place in a file that is written front to back. */
export interface PlannedPart {
  readonly name: string;
  /** Bytes that will be appended. */
  readonly bytes: number;
  /** Zeros that follow them. */
  readonly padding: number;
}

/**
 * A file of a header and then tensors in a planned order, each written in as many pieces as the caller likes. The file is
 * only valid after {@link finish}: give it a temporary name (publish.ts).
 */
export class PlannedFile implements AsyncDisposable {
  readonly path: string;
  /** Size in bytes of the finished file. */
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #parts: readonly PlannedPart[];
  #current = 0;
  #writtenOfCurrent = 0;
  #position: number;
  #open = true;

  protected constructor(path: string, handle: FileHandle, parts: readonly PlannedPart[], headerBytes: number) {
    this.path = path;
    this.#handle = handle;
    this.#parts = parts;
    this.#position = headerBytes;
    this.size = parts.reduce((sum, { bytes, padding }) => sum + bytes + padding, headerBytes);
  }

  /** Creates `path`, replacing a file of that name, and writes the header. Throws `RandloraError` "file". */
  protected static async begin(path: string, header: Uint8Array): Promise<FileHandle> {
    const handle = await naming(path, "write", open(path, "w"));
    try {
      await writeFully(handle, path, header, 0);
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
    return handle;
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
    const part = this.#parts[this.#current];
    if (part === undefined || part.name !== name) {
      throw new RangeError(`${oneLine(this.path)}: ${quote(name)} where ${quote(part?.name ?? "the end")} is due`);
    }
    const position = this.#position;
    if (this.#writtenOfCurrent + bytes.length > part.bytes) {
      throw new RangeError(`${oneLine(this.path)}: more bytes of ${quote(name)} than its ${part.bytes}`);
    }
    this.#writtenOfCurrent += bytes.length;
    this.#position += bytes.length;
    await writeFully(this.#handle, this.path, bytes, position);
  }

  /**
   * Checks that every planned byte was written, waits until the disk has them, closes.
   * Throws `RandloraError` "file", or `RangeError` when bytes are missing.
   */
  async finish(): Promise<void> {
    this.#skipComplete(undefined);
    const missing = this.#parts[this.#current];
    if (missing !== undefined) {
      const progress = `${this.#writtenOfCurrent} of ${missing.bytes} bytes`;
      throw new RangeError(`${oneLine(this.path)}: only ${progress} of ${quote(missing.name)} were written`);
    }
    const behind = this.#parts.at(-1)?.padding ?? 0;
    if (behind > 0) await writeFully(this.#handle, this.path, new Uint8Array(behind), this.#position - behind);
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

  /** Moves past complete tensors, but not past an empty one that `name` still means. What is skipped of a file reads as zeros. */
  #skipComplete(name: string | undefined): void {
    for (;;) {
      const part = this.#parts[this.#current];
      if (part === undefined || part.name === name || this.#writtenOfCurrent < part.bytes) return;
      this.#current++;
      this.#writtenOfCurrent = 0;
      this.#position += part.padding;
    }
  }
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
