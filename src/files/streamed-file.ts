import { ptr } from "bun:ffi";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "./errors.ts";
import { naming, oneLine, systemCode } from "./failure.ts";
import { itemAt } from "./item-at.ts";

/**
 * From this size on a file goes past the page cache, where the system allows it: it waits for the disk in the end anyway, and
 * copying into pages of a cache took a third of a large merge's processor time.
 */
export const DIRECT_BYTES = 2 ** 26;
/** Of a write past the page cache; and what its place, its size and its memory must be multiples of. */
const PIECE = 2 ** 21;
const ALIGNMENT = 4096;

/** A new file that is written front to back. */
export class StreamedFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #direct: FileHandle | undefined;
  #isRefused = false;
  /** Two pieces, until it is closed: one is filled while the other is written. */
  #pieces: readonly Uint8Array[];
  /** Of the file, bytes that were handed to a handle; behind them come those in the piece that is being filled. */
  #position = 0;
  #turn = 0;
  #filled = 0;
  #writing: Promise<void> = Promise.resolve();
  /** What is written beside that. */
  #beside: Promise<void> = Promise.resolve();
  #besidePieces: readonly Uint8Array[] | undefined;
  #broken: { readonly thrown: unknown } | undefined;
  #isClosed = false;

  private constructor(path: string, handle: FileHandle, direct: FileHandle | undefined) {
    this.path = path;
    this.#handle = handle;
    this.#direct = direct;
    this.#pieces = direct === undefined ? [] : alignedPieces();
  }

  /** Creates `path`, replacing a file of that name, for so many bytes that are appended. Throws `RandloraError` "file". */
  static async create(path: string, size: number): Promise<StreamedFile> {
    const handle = await naming(path, "write", open(path, "w"));
    return new StreamedFile(path, handle, size < DIRECT_BYTES ? undefined : await openDirect(path));
  }

  /** Bytes that were appended. */
  get written(): number {
    return this.#position + this.#filled;
  }

  /** Writes are past the page cache. */
  get isDirect(): boolean {
    return this.#direct !== undefined;
  }

  /** Appends `bytes`, which may be used again when this resolves. Calls must not overlap. Throws `RandloraError` "file", also of what was appended before. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const piece = this.#pieces[this.#turn];
      if (piece === undefined) {
        await this.#write(this.#handle, bytes, this.#position);
        this.#position += bytes.length;
        return;
      }
      const some = bytes.subarray(from, from + piece.length - this.#filled);
      piece.set(some, this.#filled);
      this.#filled += some.length;
      from += some.length;
      if (this.#filled === piece.length) await this.#next(piece);
    }
  }

  /**
   * Appends so many bytes that `read` gives from one of them on, while others are appended behind them: only whole blocks of the file can be, so
   * the first and the last few are read at once. One such stretch is written after the other. Only past the page cache.
   * @throws RandloraError `file`, also of what was appended before; what fails later is thrown by a later call
   */
  async appendBeside(size: number, read: (out: Uint8Array, from: number) => Promise<void>): Promise<void> {
    const some = async (from: number, end: number): Promise<void> => {
      const bytes = new Uint8Array(end - from);
      await read(bytes, from);
      await this.append(bytes);
    };
    const first = -this.written & (ALIGNMENT - 1);
    const end = size - ((this.written + size) & (ALIGNMENT - 1));
    if (!this.isDirect || end <= first)
      throw new RangeError(`${oneLine(this.path)}: ${size} bytes have no whole block`);
    await some(0, first);
    const piece = this.#pieces[this.#turn]?.subarray(0, this.#filled);
    if (piece !== undefined && piece.length > 0) await this.#next(piece);
    const position = this.#position - first;
    this.#beside = this.#beside.then(() => this.#writeBeside(position, first, end, read));
    this.#beside.catch((thrown: unknown) => (this.#broken = { thrown }));
    this.#position += end - first;
    await some(end, size);
  }

  /** Writes `bytes` at a place in the file, which must not go past the page cache. Throws `RandloraError` "file". */
  async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    if (this.isDirect) throw new RangeError(`${oneLine(this.path)} is written front to back`);
    await this.#write(this.#handle, bytes, position);
  }

  /** Writes what is left, and waits until the disk has everything. Throws `RandloraError` "file". */
  async finish(): Promise<void> {
    await this.#writing;
    await this.#beside;
    const rest = this.#pieces[this.#turn]?.subarray(0, this.#filled);
    this.#filled = 0;
    if (rest !== undefined) await this.#write(this.#handle, rest, this.#position);
    await naming(this.path, "write", this.#handle.sync());
  }

  /** Closes it, finished or not. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([this.#writing, this.#beside]); // whoever appends or finishes hears of it
    // A merge holds the files of all its shards until its end.
    this.#pieces = [];
    this.#besidePieces = undefined;
    await this.#direct?.close();
    await naming(this.path, "write", this.#handle.close());
  }

  /** Has a whole piece written, once the other one is. */
  async #next(piece: Uint8Array): Promise<void> {
    await this.#writing;
    if (this.#broken !== undefined) throw this.#broken.thrown;
    this.#writing = this.#writeDirect(piece, this.#position);
    this.#writing.catch(() => {}); // reported by the next call
    this.#position += piece.length;
    this.#turn ^= 1;
    this.#filled = 0;
  }

  /** Writes bytes `from` to `end` of those that `read` gives, as if they began at a place in the file. */
  async #writeBeside(
    position: number,
    from: number,
    end: number,
    read: (out: Uint8Array, from: number) => Promise<void>,
  ): Promise<void> {
    const pieces = (this.#besidePieces ??= alignedPieces());
    let writing: Promise<void> = Promise.resolve();
    for (let at = from, side = 0; at < end && !this.#isClosed; at += PIECE, side ^= 1) {
      const piece = itemAt(pieces, side).subarray(0, end - at);
      // Both have ended before either's failure is thrown: files are closed then.
      const ended = await Promise.allSettled([writing, read(piece, at)]);
      for (const result of ended) if (result.status === "rejected") throw result.reason;
      writing = this.#writeDirect(piece, position + at);
    }
    await writing;
  }

  async #writeDirect(piece: Uint8Array, position: number): Promise<void> {
    try {
      if (this.#direct !== undefined && !this.#isRefused) return await this.#write(this.#direct, piece, position);
    } catch (thrown) {
      // A file system that takes the flag and not the writes, or other multiples.
      if (!(thrown instanceof RandloraError) || systemCode(thrown.cause) !== "EINVAL") throw thrown;
      this.#isRefused = true;
    }
    await this.#write(this.#handle, piece, position);
  }

  async #write(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const writing = handle.write(bytes, done, bytes.length - done, position + done);
      const { bytesWritten } = await naming(this.path, "write", writing);
      if (bytesWritten === 0)
        throw new RandloraError("file", `cannot write ${oneLine(this.path)}: nothing was accepted`);
      done += bytesWritten;
    }
  }
}

/** Opens an existing file for writes past the page cache; undefined where there are none. */
async function openDirect(path: string): Promise<FileHandle | undefined> {
  if (process.platform !== "linux") return undefined;
  return await open(path, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined);
}

function alignedPieces(): Uint8Array[] {
  const room = new Uint8Array(2 * PIECE + ALIGNMENT);
  const first = -ptr(room) & (ALIGNMENT - 1);
  return [0, 1].map((at) => room.subarray(first + at * PIECE, first + (at + 1) * PIECE));
}
