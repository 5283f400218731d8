import { readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { naming, systemCode } from "../failure.ts";
import { claim, createLocked, FileLock } from "../lock.ts";
import { type Owner, ownerName, parseOwner, self } from "../owner.ts";

/*
 * A download that is not complete lies beside its blob as `<etag>.<owner>.incomplete` (an ending that Python's cache
 * tools know). Who writes it holds a lock on it: two processes that append to one file destroy it. Each has a file of its
 * own all the same, because locks are not to be relied on everywhere (huggingface/huggingface_hub#4228 saw flock succeed
 * for everybody on Lustre and some NFS): there, two machines fetch twice. `<etag>.resume.incomplete` belongs to nobody;
 * whoever locks it and renames it to a name of his own continues it. What a killed process left is taken over the same way.
 */

/** Names in Python's form (`<etag>.incomplete`, `<etag>.<8 digits>.incomplete`) are Python's: never touched. */
const PARTIAL = /^([0-9a-f]+)\.(?:resume|([0-9a-f]{8,12}-\d+-\d+)-\d+)\.incomplete$/;

let serial = 0;

/** An unfinished download that is ours. */
export class Partial {
  readonly #blob: string;
  readonly #lock: FileLock;
  readonly path: string;

  private constructor(blob: string, path: string, lock: FileLock) {
    this.#blob = blob;
    this.path = path;
    this.#lock = lock;
  }

  /** Takes over what is there of a blob, or begins with nothing; undefined while somebody else is at it. */
  static async claim(blob: string): Promise<Partial | undefined> {
    const path = partialPath(blob, `${ownerName(self())}-${serial++}`);
    const before = await partialsOf(blob);
    if (before.some((partial) => partial.state === "held")) return undefined;
    const [largest] = before.filter(({ state }) => state === "left").toSorted((a, b) => b.size - a.size);
    const lock = largest === undefined ? await begin(path) : await takeOver(largest, path);
    if (lock === undefined) return undefined;
    const mine = new Partial(blob, path, lock);
    // Two that began in the same instant see each other now, and one gives way. (Should both go on after all, they only
    // fetch twice: each has a file of its own.)
    const after = await partialsOf(blob);
    if (!after.some((partial) => partial.state === "held" && partial.path < path)) return mine;
    await mine.release();
    return undefined;
  }

  /** Leaves it to whoever comes next, unless somebody left as much already. */
  async release(): Promise<void> {
    const left = partialPath(this.#blob, "resume");
    // Whatever goes wrong here, the failure that led here is the one to tell.
    const isMore = (await sizeOf(this.path)) > (await sizeOf(left));
    await (isMore ? rename(this.path, left) : rm(this.path, { force: true })).catch(() => undefined);
    this.#lock[Symbol.dispose]();
  }

  /** Makes a complete download the blob, in one step, and removes other attempts at it that nobody pursues. */
  async publish(): Promise<void> {
    await naming(this.#blob, "write", rename(this.path, this.#blob));
    this.#lock[Symbol.dispose]();
    for (const { path, state } of await partialsOf(this.#blob)) {
      if (state === "left") await rm(path, { force: true });
    }
  }
}

/** Bytes of a blob that an unfinished download has, whoever is at it. */
export async function partialBytes(blob: string): Promise<number> {
  return Math.max(0, ...(await partialsOf(blob)).map(({ size }) => size));
}

/** Who is at a blob, and how far they are. */
export async function holderOf(
  blob: string,
): Promise<{ readonly owner: Owner | undefined; readonly size: number } | undefined> {
  return (await partialsOf(blob)).find(({ state }) => state === "held");
}

async function begin(path: string): Promise<FileLock | undefined> {
  return await naming(
    path,
    "write",
    createLocked(path, () => writeFile(path, "", { flag: "wx" })),
  );
}

/** Of several that want the same file only one gets it. */
async function takeOver({ path, owner }: PartialFile, mine: string): Promise<FileLock | undefined> {
  const lock = await claim(path, owner);
  if (!(lock instanceof FileLock)) return undefined;
  const isTaken = await rename(path, mine).then(
    () => lock.isAt(mine),
    (thrown: unknown) => (systemCode(thrown) === "ENOENT" ? false : "forbidden"),
  );
  if (isTaken === true) return lock;
  lock[Symbol.dispose]();
  // One that cannot be had never will be; where nothing may be written, beginning anew says so.
  return isTaken === "forbidden" ? await begin(mine) : undefined;
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

interface PartialFile {
  readonly path: string;
  /** Who made it; undefined where it waits for whoever comes next. */
  readonly owner: Owner | undefined;
  readonly size: number;
  /** `held`: somebody is at it. `left`: nobody is. `elsewhere`: nobody here can tell. */
  readonly state: "held" | "left" | "elsewhere";
}

async function partialsOf(blob: string): Promise<PartialFile[]> {
  const folder = dirname(blob);
  const partials: PartialFile[] = [];
  for (const name of await naming(folder, "read", readdir(folder))) {
    const match = PARTIAL.exec(name);
    if (match === null || match[1] !== basename(blob)) continue;
    const owner = match[2] === undefined ? undefined : parseOwner(match[2]);
    const path = join(folder, name);
    const lock = await claim(path, owner);
    const found = await stat(path).catch(() => undefined);
    if (lock instanceof FileLock) lock[Symbol.dispose]();
    if (found === undefined || lock === "gone") continue;
    partials.push({ path, owner, size: found.size, state: lock instanceof FileLock ? "left" : lock });
  }
  return partials;
}

function partialPath(blob: string, owner: string): string {
  return `${blob}.${owner}.incomplete`;
}
