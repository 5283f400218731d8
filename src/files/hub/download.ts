import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming, quote } from "../failure.ts";
import { staysInFolder } from "../name.ts";
import { connectionFailure, HubFailure, strangeAnswer, type Subject } from "./failure.ts";
import { type Connection, get, isTemporary, MAX_RETRIES, pause } from "./http.ts";
import { placePointer, type RepositoryFolder } from "./layout.ts";
import { Partial } from "./partial.ts";
import { etagOf, type TreeFile } from "./tree.ts";
import { Waiting } from "./waiting.ts";

/*
 * One file of a commit, from the Hub into the cache. The plain `resolve` address is used for files in Xet storage too: the
 * Hub serves them there with ranges, so that a download can continue.
 */

const READ_BYTES = 4 << 20;

/**
 * The file's path in the snapshot: here a name that a server or an index chose becomes one of this machine.
 * @throws RandloraError `file` where that would be outside of the snapshot, on this system or another one
 */
export function pointerOf(folder: RepositoryFolder, commit: string, path: string): string {
  if (!staysInFolder(path)) {
    const hint = "no honest repository has such a file: check the name, and HF_ENDPOINT";
    throw new RandloraError("file", `${folder.repo} names its file ${quote(path)}, which leaves the folder`, hint);
  }
  return join(folder.snapshot(commit), ...path.split("/"));
}

/** Whether a file with just this many bytes is there (links are followed). */
export async function hasSize(path: string, size: number): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size === size;
  } catch {
    return false;
  }
}

/**
 * Brings one file into the snapshot of `commit`, unless it is there: from a blob that another commit brought, or from the
 * Hub, continuing what an earlier attempt left. It appears in the cache only when its size and hash are right.
 *
 * @param onBytes told how many bytes came in addition; negative when what there was turned out to be useless
 * @throws {HubFailure} when the Hub does not deliver, RandloraError "file" when the disk does not take it
 */
export async function fetchFile(
  connection: Connection,
  folder: RepositoryFolder,
  commit: string,
  file: TreeFile,
  onBytes: (count: number) => void,
): Promise<void> {
  const { symlinks } = connection.settings;
  const pointer = pointerOf(folder, commit, file.path);
  const blob = folder.blob(etagOf(file));
  const waiting = new Waiting(connection, { file: `${folder.repo}/${file.path}`, blob }, onBytes);
  for (;;) {
    connection.signal.throwIfAborted();
    if (await hasSize(pointer, file.size)) {
      waiting.end();
      onBytes(file.size);
      return;
    }
    if (await hasSize(blob, file.size)) {
      await placePointer(pointer, blob, { fresh: false, symlinks });
      continue;
    }
    const partial = await Partial.claim(blob);
    if (partial === undefined) {
      // Somebody else fetches it: their file will be ours.
      await waiting.poll();
      continue;
    }
    waiting.end();
    await fetchBlob(connection, { repo: folder.repo, revision: commit, file: file.path }, file, partial, onBytes);
    await placePointer(pointer, blob, { fresh: true, symlinks });
    return;
  }
}

async function fetchBlob(
  connection: Connection,
  subject: Subject & { readonly file: string },
  file: TreeFile,
  partial: Partial,
  onBytes: (count: number) => void,
): Promise<void> {
  try {
    const download = await Download.open(connection, subject, file, partial.path);
    try {
      const resumed = download.have > 0;
      onBytes(download.have);
      await download.finish(onBytes);
      if (!download.isRight() && resumed) {
        // The earlier part may have been damaged, by a power failure for one. The whole once more settles it.
        onBytes(-(await download.restart()));
        await download.finish(onBytes);
      }
      if (!download.isRight()) {
        onBytes(-(await download.restart()));
        throw mismatch(subject, file);
      }
      await download.sync();
    } finally {
      await download.close();
    }
    await partial.publish();
  } catch (thrown) {
    await partial.release();
    throw thrown;
  }
}

/** An open partial file, how much of it there is, and the hash of that. */
class Download {
  #have = 0;
  #hash: Hash;

  private constructor(
    readonly connection: Connection,
    readonly subject: Subject & { readonly file: string },
    readonly file: TreeFile,
    readonly path: string,
    readonly handle: FileHandle,
  ) {
    this.#hash = startHash(file);
  }

  static async open(
    connection: Connection,
    subject: Subject & { readonly file: string },
    file: TreeFile,
    path: string,
  ): Promise<Download> {
    // Appending, so that a restart needs no position.
    const download = new Download(connection, subject, file, path, await naming(path, "write", open(path, "a+")));
    try {
      await naming(path, "read", download.#readBack());
    } catch (thrown) {
      await download.close();
      throw thrown;
    }
    return download;
  }

  get have(): number {
    return this.#have;
  }

  isRight(): boolean {
    return this.#have === this.file.size && this.#hash.copy().digest("hex") === etagOf(this.file);
  }

  /** Fetches what is missing; each interruption continues where it happened, until nothing comes {@link MAX_RETRIES} times. */
  async finish(onBytes: (count: number) => void): Promise<void> {
    let fruitless = 0;
    while (this.#have < this.file.size) {
      const before = this.#have;
      try {
        await this.#fetchRest(onBytes);
      } catch (thrown) {
        this.connection.signal.throwIfAborted();
        fruitless = this.#have > before ? 0 : fruitless + 1;
        if (!isTemporary(thrown) || fruitless > MAX_RETRIES) throw thrown;
        await pause(this.connection, fruitless, thrown);
      }
    }
  }

  /** Forgets what there is. Returns how many bytes that were. */
  async restart(): Promise<number> {
    await naming(this.path, "write", this.handle.truncate(0));
    const had = this.#have;
    this.#have = 0;
    this.#hash = startHash(this.file);
    return had;
  }

  async sync(): Promise<void> {
    await naming(this.path, "write", this.handle.datasync());
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  async #fetchRest(onBytes: (count: number) => void): Promise<void> {
    const { connection, subject } = this;
    const { endpoint } = connection.settings;
    const path = subject.file.split("/").map(encodeURIComponent).join("/");
    const range = this.#have > 0 ? { Range: `bytes=${this.#have}-` } : undefined;
    const url = `${endpoint}/${subject.repo}/resolve/${subject.revision}/${path}`;
    const { response, watchdog } = await get(connection, url, subject, range);
    try {
      if (range !== undefined && response.status !== 206) {
        // The server knows no ranges and sends the whole file.
        onBytes(-(await this.restart()));
      } else if (response.status === 206 && !startsAt(response, this.#have)) {
        throw strangeAnswer(`wrong range for ${subject.repo}/${subject.file}`, connection.settings);
      }
      for await (const chunk of response.body ?? []) {
        watchdog.heard();
        if (this.#have + chunk.length > this.file.size) {
          throw strangeAnswer(`more than the ${this.file.size} bytes of ${subject.file}`, connection.settings);
        }
        const written = naming(this.path, "write", writeAll(this.handle, chunk));
        // Hashes while the system writes.
        this.#hash.update(chunk);
        await written;
        this.#have += chunk.length;
        onBytes(chunk.length);
      }
    } catch (thrown) {
      if (thrown instanceof RandloraError) throw thrown;
      connection.signal.throwIfAborted();
      throw connectionFailure(thrown, subject, connection.settings);
    } finally {
      watchdog.stop();
    }
    if (this.#have < this.file.size) {
      const ended = new Error(`ended after ${this.#have} of ${this.file.size} bytes`);
      throw connectionFailure(ended, subject, connection.settings);
    }
  }

  async #readBack(): Promise<void> {
    const { size } = await this.handle.stat();
    if (size > this.file.size) {
      await this.restart();
      return;
    }
    const buffer = new Uint8Array(Math.min(READ_BYTES, size));
    while (this.#have < size) {
      const { bytesRead } = await this.handle.read(buffer, 0, buffer.length, this.#have);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#have += bytesRead;
    }
  }
}

/** Large files are known by their SHA-256, small ones by git's object id, which is the SHA-1 of a header and the bytes. */
function startHash(file: TreeFile): Hash {
  return file.sha256 === undefined ? createHash("sha1").update(`blob ${file.size}\0`) : createHash("sha256");
}

function startsAt(response: Response, offset: number): boolean {
  return new RegExp(`^bytes ${offset}-`).test(response.headers.get("Content-Range") ?? "");
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await handle.write(bytes, done)).bytesWritten;
  }
}

function mismatch({ repo, file }: Subject, { sha256, oid }: TreeFile): HubFailure {
  const expected = sha256 === undefined ? `git hash ${oid}` : `SHA-256 ${sha256}`;
  const hint = "a proxy or mirror may have changed it: try again, or from another network";
  return new HubFailure("answer", `${repo}/${file ?? ""} arrived damaged: it should have ${expected}`, hint);
}
