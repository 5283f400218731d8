import { oneLine, quote } from "./failure.ts";
import { StreamedFile } from "./streamed-file.ts";

/** A tensor's place in a file that is written front to back. */
export interface PlannedPart {
  readonly name: string;
  /** Bytes that will be appended. */
  readonly bytes: number;
  /** Zeros that follow them. */
  readonly padding: number;
}

/** A file whose header is written. */
interface Begun {
  readonly file: StreamedFile;
  /** Of the finished file. */
  readonly size: number;
  readonly headerBytes: number;
  readonly inAnyOrder: boolean;
}

/** A tensor of a file that is written in any order. */
interface Target {
  readonly start: number;
  /** Bytes of it that were not written yet. */
  left: number;
  readonly bytes: number;
}

/**
 * A file of a header and then tensors in a planned order, each written in as many pieces as the caller likes. The file is
 * only valid after {@link finish}: give it a temporary name (publish.ts).
 */
export class PlannedFile implements AsyncDisposable {
  readonly path: string;
  /** Size in bytes of the finished file. */
  readonly size: number;
  readonly #file: StreamedFile;
  readonly #parts: readonly PlannedPart[];
  /** By name, where tensors are written in any order. */
  readonly #targets: ReadonlyMap<string, Target> | undefined;
  #current = 0;
  #writtenOfCurrent = 0;
  #position: number;
  #open = true;

  protected constructor({ file, size, headerBytes, inAnyOrder }: Begun, parts: readonly PlannedPart[]) {
    this.path = file.path;
    this.size = size;
    this.#file = file;
    this.#parts = parts;
    this.#position = headerBytes;
    this.#targets = inAnyOrder ? targetsOf(parts, headerBytes) : undefined;
  }

  /**
   * Creates `path`, replacing a file of that name, and writes the header.
   * @param inAnyOrder tensors come by {@link write}, not by {@link append}
   * @throws RandloraError `file`
   */
  protected static async begin(
    path: string,
    header: Uint8Array,
    parts: readonly PlannedPart[],
    inAnyOrder = false,
  ): Promise<Begun> {
    const size = parts.reduce((sum, { bytes, padding }) => sum + bytes + padding, header.length);
    const file = await StreamedFile.create(path, inAnyOrder ? 0 : size);
    try {
      await file.append(header);
    } catch (thrown) {
      await file.close();
      throw thrown;
    }
    return { file, size, headerBytes: header.length, inAnyOrder };
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
    await this.#advance(name, bytes.length);
    await this.#file.append(bytes);
  }

  /**
   * Appends so many bytes of the tensor called `name` as {@link append} does, while others are appended behind them, where the file goes past the
   * page cache; {@link finish} waits for them.
   * @param read gives bytes from one of them on
   * @returns false where it does not: nothing was appended
   */
  async appendBeside(
    name: string,
    bytes: number,
    read: (out: Uint8Array, from: number) => Promise<void>,
  ): Promise<boolean> {
    if (!this.#file.isDirect) return false;
    await this.#advance(name, bytes);
    await this.#file.appendBeside(bytes, read);
    return true;
  }

  /**
   * Writes `bytes` of the tensor called `name` from its byte `at` on; every byte once, in any order. Throws as {@link append}.
   */
  async write(name: string, bytes: Uint8Array, at: number): Promise<void> {
    const target = this.#targets?.get(name);
    if (target === undefined || at + bytes.length > target.bytes || bytes.length > target.left) {
      throw new RangeError(`${oneLine(this.path)}: ${bytes.length} bytes of ${quote(name)} at ${at} were not planned`);
    }
    target.left -= bytes.length;
    this.#position += bytes.length;
    await this.#file.writeAt(bytes, target.start + at);
  }

  /**
   * Checks that every planned byte was written, waits until the disk has them, closes.
   * Throws `RandloraError` "file", or `RangeError` when bytes are missing.
   */
  async finish(): Promise<void> {
    if (this.#targets !== undefined) return this.#finishAll(this.#targets);
    this.#skipComplete(undefined);
    const missing = this.#parts[this.#current];
    if (missing !== undefined) {
      const progress = `${this.#writtenOfCurrent} of ${missing.bytes} bytes`;
      throw new RangeError(`${oneLine(this.path)}: only ${progress} of ${quote(missing.name)} were written`);
    }
    await this.#pad(this.#position);
    await this.#file.finish();
    await this.close();
  }

  async #finishAll(targets: ReadonlyMap<string, Target>): Promise<void> {
    const missing = [...targets].find(([, { left }]) => left > 0);
    if (missing !== undefined) {
      throw new RangeError(`${oneLine(this.path)}: ${missing[1].left} bytes of ${quote(missing[0])} were not written`);
    }
    // What nobody wrote is zeros, up to the last byte.
    if ((this.#parts.at(-1)?.padding ?? 0) > 0) await this.#file.writeAt(new Uint8Array(1), this.size - 1);
    await this.#file.finish();
    await this.close();
  }

  /** Closes the file, finished or not; a second call does nothing. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Counts bytes that will be appended to a tensor, and fills what is before them. */
  async #advance(name: string, bytes: number): Promise<void> {
    this.#skipComplete(name);
    const part = this.#parts[this.#current];
    if (part === undefined || part.name !== name) {
      throw new RangeError(`${oneLine(this.path)}: ${quote(name)} where ${quote(part?.name ?? "the end")} is due`);
    }
    const position = this.#position;
    if (this.#writtenOfCurrent + bytes > part.bytes) {
      throw new RangeError(`${oneLine(this.path)}: more bytes of ${quote(name)} than its ${part.bytes}`);
    }
    this.#writtenOfCurrent += bytes;
    this.#position += bytes;
    await this.#pad(position);
  }

  /** Moves past complete tensors, but not past an empty one that `name` still means. */
  #skipComplete(name: string | undefined): void {
    for (;;) {
      const part = this.#parts[this.#current];
      if (part === undefined || part.name === name || this.#writtenOfCurrent < part.bytes) return;
      this.#current++;
      this.#writtenOfCurrent = 0;
      this.#position += part.padding;
    }
  }

  /** Zeros where nothing was planned, up to this place. */
  async #pad(end: number): Promise<void> {
    const missing = end - this.#file.written;
    if (missing > 0) await this.#file.append(new Uint8Array(missing));
  }
}

function targetsOf(parts: readonly PlannedPart[], first: number): ReadonlyMap<string, Target> {
  const targets = new Map<string, Target>();
  let start = first;
  for (const { name, bytes, padding } of parts) {
    targets.set(name, { start, bytes, left: bytes });
    start += bytes + padding;
  }
  return targets;
}
