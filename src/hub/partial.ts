import { readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { naming } from "../safetensors/failure.ts";
import { isAlive, type Owner, ownerName, parseOwner, self } from "../safetensors/owner.ts";

/*
 * A download that is not complete lies beside its blob as `<etag>.<owner>.incomplete` (an ending that Python's cache
 * tools know). Its name says who writes it, so that nobody else does: two processes that append to one file destroy it,
 * and file locks are not to be relied on (huggingface/huggingface_hub#4228 saw flock succeed for everybody on Lustre and
 * some NFS). `<etag>.resume.incomplete` belongs to nobody; whoever renames it to a name of his own continues it. What a
 * killed process left under its name is taken over the same way.
 */

/** A download on another machine may wait for its server, and writes nothing meanwhile. */
const DEAD_AFTER_MS = 10 * 60 * 1000;

let serial = 0;

/** Takes over what is there of a blob, or begins with nothing; undefined while somebody else is at it. */
export async function claimPartial(blob: string): Promise<string | undefined> {
  const mine = partialPath(blob, `${ownerName(self())}-${serial++}`);
  const before = await partialsOf(blob);
  if (before.some((partial) => partial.owned)) return undefined;
  const [largest] = before.toSorted((a, b) => b.size - a.size);
  if (largest === undefined) {
    await naming(mine, "write", writeFile(mine, "", { flag: "wx" }));
  } else {
    // Of several that rename the same file only one succeeds; the others find it owned when they look again.
    const taken = await rename(largest.path, mine).then(
      () => true,
      () => false,
    );
    if (!taken) return undefined;
  }
  // Two that began in the same instant see each other now, and one gives way. (Should both go on after all, they only
  // fetch twice: each has a file of its own.)
  const after = await partialsOf(blob);
  if (!after.some((partial) => partial.owned && partial.path < mine)) return mine;
  await releasePartial(blob, mine);
  return undefined;
}

/** Leaves an unfinished download to whoever comes next, unless somebody left as much already. */
export async function releasePartial(blob: string, mine: string): Promise<void> {
  const left = partialPath(blob, "resume");
  // Whatever goes wrong here, the failure that led here is the one to tell.
  const isMore = (await sizeOf(mine)) > (await sizeOf(left));
  await (isMore ? rename(mine, left) : rm(mine, { force: true })).catch(() => undefined);
}

/** Makes a complete download the blob, in one step, and removes other attempts at it that nobody pursues. */
export async function publishPartial(blob: string, mine: string): Promise<void> {
  await naming(blob, "write", rename(mine, blob));
  for (const { path, owned } of await partialsOf(blob)) {
    if (!owned) await rm(path, { force: true });
  }
}

/** Bytes of a blob that an unfinished download has, whoever is at it. */
export async function partialBytes(blob: string): Promise<number> {
  return Math.max(0, ...(await partialsOf(blob)).map(({ size }) => size));
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

interface Partial {
  readonly path: string;
  readonly size: number;
  readonly owned: boolean;
}

async function partialsOf(blob: string): Promise<Partial[]> {
  const folder = dirname(blob);
  const partials: Partial[] = [];
  for (const name of await naming(folder, "read", readdir(folder))) {
    if (ownerOf(name)?.etag !== basename(blob)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined) partials.push({ path, size: found.size, owned: isOwned(path, found.mtimeMs) });
  }
  return partials;
}

function partialPath(blob: string, owner: string): string {
  return `${blob}.${owner}.incomplete`;
}

interface PartialName {
  readonly etag: string;
  /** Undefined where it waits for whoever comes next. */
  readonly owner: Owner | undefined;
}

/** Names in Python's form (`<etag>.incomplete`, `<etag>.<8 digits>.incomplete`) are Python's: never touched. */
function ownerOf(name: string): PartialName | undefined {
  const match = /^([0-9a-f]+)\.(?:resume|([0-9a-f]{8}-\d+-\d+)-\d+)\.incomplete$/.exec(name);
  if (match === null) return undefined;
  const [, etag = "", owner = ""] = match;
  return { etag, owner: parseOwner(owner) };
}

function isOwned(path: string, changedMs: number): boolean {
  const owner = ownerOf(basename(path))?.owner;
  return owner !== undefined && isAlive(owner, changedMs, DEAD_AFTER_MS);
}
