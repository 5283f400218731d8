import { closeSync, openSync, read, write } from "node:fs";
import { mkdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../../../files/cache-folder.ts";

const readAt = promisify(read);
const writeAt = promisify(write);

/** Closes the files of sets that nobody has any more: a set has no end of its own. */
const UNUSED = new FinalizationRegistry(closeSync);

/** An open file, and how many bytes it may have. */
interface Room {
  readonly descriptor: number;
  readonly bytes: number;
}

/** Where rows of a group lie in the file; one more than there are rows. */
type Offsets = Float64Array;

/**
 * A file without a name for what does not fit into memory: it goes with the process, however that ends. What cannot be
 * written (no room, a system that keeps open files) is not there, and is made again.
 */
export class Spill<Group extends object> {
  readonly #folder: string;
  readonly #offsets = new Map<Group, Offsets>();
  #file: Promise<Room | undefined> | undefined;
  #end = 0;

  constructor(folder = cacheFolder()) {
    this.#folder = folder;
  }

  has(group: Group): boolean {
    return this.#offsets.has(group);
  }

  /** Adds a group, unless it is there. @returns whether it is there now */
  async add(group: Group, rows: readonly Uint8Array[]): Promise<boolean> {
    if (this.has(group)) return true;
    this.#file ??= this.#open();
    const file = await this.#file;
    const size = rows.reduce((sum, { length }) => sum + length, 0);
    if (file === undefined || this.#end + size > file.bytes) return false;
    const offsets = new Float64Array(rows.length + 1).fill(this.#end);
    for (const [i, { length }] of rows.entries()) offsets[i + 1] = (offsets[i] as number) + length;
    this.#end += size;
    try {
      for (const [i, row] of rows.entries()) await writeAll(file.descriptor, row, offsets[i] as number);
    } catch {
      return false;
    }
    this.#offsets.set(group, offsets);
    return true;
  }

  /** A row of a group that is there; undefined where the group has no such row. */
  async read(group: Group, row: number): Promise<Uint8Array | undefined> {
    const offsets = this.#offsets.get(group);
    const [first, end] = [offsets?.[row], offsets?.[row + 1]];
    const file = await this.#file;
    if (file === undefined || first === undefined || end === undefined) return undefined;
    const bytes = new Uint8Array(end - first);
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await readAt(file.descriptor, bytes, done, bytes.length - done, first + done);
      if (bytesRead === 0) throw new Error("a file of kept rows has become shorter");
      done += bytesRead;
    }
    return bytes;
  }

  /** At most half of what is free is taken. */
  async #open(): Promise<Room | undefined> {
    if (process.platform === "win32") return undefined;
    try {
      await mkdir(this.#folder, { recursive: true });
      const path = join(this.#folder, `images-${crypto.randomUUID()}`);
      const descriptor = openSync(path, "wx+", 0o600);
      UNUSED.register(this, descriptor);
      await rm(path);
      const { bavail, bsize } = await statfs(this.#folder);
      return { descriptor, bytes: (bavail * bsize) / 2 };
    } catch {
      return undefined;
    }
  }
}

async function writeAll(descriptor: number, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await writeAt(descriptor, bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}
