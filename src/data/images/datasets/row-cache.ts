import { Spill } from "./spill.ts";

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
