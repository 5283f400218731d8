import { closeSync, openSync, read, write } from "node:fs";
import { mkdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../../../files/cache-folder.ts";

/** Bytes of images that are kept: small sets wholly, of large ones the groups used last. */
export const KEPT_BYTES = 512 * 2 ** 20;
/** Groups that are read at once: the images of a batch may lie in as many as there are, each of any size. */
const MOST_READ = 2;

/**
 * Groups of images, read once for all who wait for them. Those that memory has no room for go to a file, image by
 * image: they are asked for in random order, and reading a group anew for each would take a hundred times as long.
 */
export class RowCache<Group extends object> {
  readonly #read: (group: Group) => Promise<Uint8Array[]>;
  readonly #most: number;
  readonly #spill: Spill<Group>;
  /** In the order of their last use. */
  readonly #groups = new Map<Group, { rows: Promise<Uint8Array[]>; bytes: number }>();
  #bytes = 0;
  #reading = 0;
  /** Who waits for a reading to end, in turn. */
  readonly #waiting: (() => void)[] = [];

  constructor(read: (group: Group) => Promise<Uint8Array[]>, most = KEPT_BYTES, spill = new Spill<Group>()) {
    this.#read = read;
    this.#most = most;
    this.#spill = spill;
  }

  /** A row of a group; undefined where the group has no such row. */
  async get(group: Group, row: number): Promise<Uint8Array | undefined> {
    if (!this.#groups.has(group) && this.#spill.has(group)) return await this.#spill.read(group, row);
    return (await this.#rowsOf(group))[row];
  }

  async #rowsOf(group: Group): Promise<Uint8Array[]> {
    const kept = this.#groups.get(group);
    if (kept !== undefined) {
      this.#groups.delete(group);
      this.#groups.set(group, kept);
      return await kept.rows;
    }
    const entry = { rows: this.#readInTurn(group), bytes: 0 };
    this.#groups.set(group, entry);
    try {
      const rows = await entry.rows;
      entry.bytes = rows.reduce((sum, { length }) => sum + length, 0);
      this.#bytes += entry.bytes;
      await this.#forget(group);
      return rows;
    } catch (thrown) {
      this.#groups.delete(group);
      throw thrown;
    }
  }

  async #readInTurn(group: Group): Promise<Uint8Array[]> {
    if (this.#reading >= MOST_READ) await new Promise<void>((begin) => this.#waiting.push(begin));
    else this.#reading++;
    try {
      return await this.#read(group);
    } finally {
      // Whoever comes next takes this one's place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#reading--;
      else next();
    }
  }

  /** Lets groups go, the longest unused first, but not `newest`. */
  async #forget(newest: Group): Promise<void> {
    const gone: { group: Group; rows: Promise<Uint8Array[]> }[] = [];
    for (const [group, { bytes, rows }] of this.#groups) {
      if (this.#bytes <= this.#most) break;
      if (group === newest || bytes === 0) continue;
      this.#groups.delete(group);
      this.#bytes -= bytes;
      gone.push({ group, rows });
    }
    // Who reads waits for it, so that no more than these are in memory besides.
    for (const { group, rows } of gone) await this.#spill.add(group, await rows);
  }
}

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
