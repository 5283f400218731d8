import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { Contradiction, type ErrorCode, RandloraError } from "../files/errors.ts";
import { systemCode } from "../files/failure.ts";
import { Communicator } from "./communicator.ts";
import { type Launched, launcherAbove } from "./launcher.ts";
import { EndedByOther, type Processes } from "./processes.ts";

/** What each process sends first: a kind, a length, and the bytes themselves where they are few. */
const HEADER = 256;
const INLINE = HEADER - 16;
const KIND = { data: 1, failed: 2, contradicted: 3 } as const;

/** Others are told of a failure when they come to the next exchange; those that do not come are ended. */
const PATIENCE_MS = 5000;
/** How long it is asked without a pause whether others are there; then with pauses that let others compute. */
const EAGER_MS = 2;
/** How often it is looked whether the launcher is still there, and those that are waited for. */
const WATCH_MS = 1000;
/** How long a launcher may take to pass on what a process wrote. */
const PASSED_ON_MS = 1000;

type Bytes = Uint8Array<ArrayBuffer>;

/** The processes of a launcher, this one being one of them. */
export class JoinedProcesses implements Processes {
  readonly rank: number;
  readonly size: number;
  #local: Processes["local"] = { rank: 0, size: 1, sharing: 1 };
  readonly #communicator: Communicator;
  readonly #headers: Bytes;
  /** The others that this machine can tell of. */
  #neighbors: readonly { readonly rank: number; readonly id: number }[] = [];
  /** One of them has failed: nothing is gathered any more. */
  #isOver = false;
  /** What it said. */
  #reason: ErrorCode | undefined;
  /** Some do not know of it. */
  #isTorn = false;

  private constructor(communicator: Communicator) {
    this.#communicator = communicator;
    this.rank = communicator.rank;
    this.size = communicator.size;
    this.#headers = new Uint8Array(HEADER * this.size);
  }

  /** @throws RandloraError `file` without a usable MPI library */
  static async join(launched: Launched): Promise<JoinedProcesses> {
    const joined = new JoinedProcesses(new Communicator(launched));
    watchLauncher();
    const own: Place = { host: hostname(), cores: coresOfThis(), ids: idsOfThis(), id: process.pid };
    // What each has written as this one has.
    const places = (await joined.each(JSON.stringify(own))).map((place) => JSON.parse(place) as Place);
    const same = places.map((place, rank) => ({ ...place, rank })).filter(({ host }) => host === own.host);
    joined.#local = {
      rank: same.filter(({ rank }) => rank < joined.rank).length,
      size: same.length,
      sharing: same.filter(({ cores }) => cores === own.cores).length,
    };
    joined.#neighbors = same.filter(({ ids, id }) => ids !== "" && ids === own.ids && id !== own.id);
    return joined;
  }

  get local(): Processes["local"] {
    return this.#local;
  }

  async gather(own: Bytes): Promise<readonly Bytes[]> {
    if (this.#isOver) throw new EndedByOther(this.#reason);
    const lengths = await this.#exchange(KIND.data, own);
    const longest = Math.max(...lengths);
    if (longest <= INLINE) return lengths.map((length, rank) => this.#header(rank).slice(16, 16 + length));
    const padded = own.length === longest ? own : new Uint8Array(longest);
    if (padded !== own) padded.set(own);
    const all = new Uint8Array(longest * this.size);
    // All are there: nobody computes meanwhile, and pauses would be the longest part of it.
    await this.#done(this.#communicator.beginGather(padded, all), Infinity);
    return lengths.map((length, rank) => all.subarray(rank * longest, rank * longest + length));
  }

  async each<T extends string | number | boolean | null>(own: T): Promise<readonly T[]> {
    return (await this.gather(encode(own))).map((part) => decode<T>(part));
  }

  async failed(thrown: unknown): Promise<unknown> {
    if (thrown instanceof EndedByOther || this.#isOver) return thrown;
    const isContradiction = thrown instanceof Contradiction;
    this.#isOver = !isContradiction;
    try {
      const said = isContradiction
        ? this.#exchange(KIND.contradicted, encode(thrown.options.join()))
        : this.#exchange(KIND.failed, encode(thrown instanceof RandloraError ? thrown.code : null));
      const told = await Promise.race([said, Bun.sleep(PATIENCE_MS)]);
      this.#isTorn = told === undefined;
    } catch (other) {
      if (other instanceof EndedByOther) return other;
      this.#isTorn = true;
    }
    if (this.#isTorn) this.#isOver = true;
    return named(thrown, this);
  }

  /** Ends this process, once all have come to their end, or all at once where some of them cannot know that it is over. */
  async end(status: number): Promise<never> {
    // The library's own way to wait takes a core from those that are still at work.
    if (!this.#isOver) await this.each(status).catch(() => undefined);
    if (!this.#isTorn) return this.#communicator.end(status);
    // MPICH's launcher drops what it has not passed on yet when it is told to end all: the reason, mostly.
    await Bun.sleep(PASSED_ON_MS);
    return this.#communicator.abort(status);
  }

  /** @returns the lengths of what each gives. @throws EndedByOther where one has failed, and a lower one says why */
  async #exchange(kind: number, own: Bytes): Promise<number[]> {
    const header = new Uint8Array(HEADER);
    const view = new DataView(header.buffer);
    view.setUint32(0, kind, true);
    view.setFloat64(8, own.length, true);
    if (own.length <= INLINE) header.set(own, 16);
    await this.#done(this.#communicator.beginGather(header, this.#headers), EAGER_MS);
    const heads = Array.from({ length: this.size }, (_, rank) => {
      const { buffer, byteOffset } = this.#header(rank);
      const head = new DataView(buffer, byteOffset, HEADER);
      return { kind: head.getUint32(0, true), length: head.getFloat64(8, true) };
    });
    const first = (wanted: number) => heads.findIndex((head) => head.kind === wanted);
    const said = (rank: number) => this.#header(rank).subarray(16, 16 + (heads[rank]?.length ?? 0));
    const failed = first(KIND.failed);
    if (failed >= 0) {
      this.#isOver = true;
      this.#reason = decode<ErrorCode | null>(said(failed)) ?? undefined;
      if (failed !== this.rank) throw new EndedByOther(this.#reason);
      return [];
    }
    const contradicted = first(KIND.contradicted);
    if (contradicted < 0) return heads.map(({ length }) => length);
    if (contradicted !== this.rank) throw new EndedByOther("usage", decode<string>(said(contradicted)).split(","));
    return [];
  }

  /**
   * Waits for others.
   * @param eagerMs how long it is asked without a pause
   * @throws RandloraError `file` where one of them is no more
   */
  async #done(isDone: () => boolean, eagerMs: number): Promise<void> {
    const begin = performance.now();
    let [looked, suspected] = [begin, false];
    while (!isDone()) {
      const now = performance.now();
      if (now - begin < eagerMs) await new Promise(setImmediate);
      else await Bun.sleep(1);
      if (now - looked < WATCH_MS) continue;
      // `srun`, and scripts in between, let others wait for one that was killed. What it sent before may be on its way.
      const gone = this.#neighbors.find(({ id }) => !isAlive(id));
      if (gone !== undefined && suspected) throw this.#lost(gone.rank);
      [looked, suspected] = [now, gone !== undefined];
    }
  }

  /** Nobody can be told of it: all are ended. */
  #lost(rank: number): unknown {
    this.#isOver = true;
    this.#isTorn = true;
    const cause = `process ${rank} of ${this.size} on ${hostname()} is gone: it was killed, or crashed`;
    return named(new RandloraError("file", cause, "see the launcher's messages; was memory short?"), this);
  }

  #header(rank: number): Bytes {
    return this.#headers.subarray(rank * HEADER, (rank + 1) * HEADER);
  }
}

function encode(value: string | number | boolean | null): Bytes {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode<T>(bytes: Uint8Array): T {
  // What `encode` made in another process of this program.
  return JSON.parse(new TextDecoder().decode(bytes)) as T;
}

/** A line that says which process it is of, where that is not the first. */
function named(thrown: unknown, { rank, size }: Processes): unknown {
  if (rank === 0 || !(thrown instanceof RandloraError) || thrown instanceof Contradiction) return thrown;
  const message = `process ${rank} of ${size} on ${hostname()}: ${thrown.message}`;
  return new RandloraError(thrown.code, message, thrown.hint, { cause: thrown.cause });
}

/** Where a process is. */
interface Place {
  readonly host: string;
  readonly cores: string;
  /** What its id is one of: containers on a machine may have ids of their own. Empty where that is not known. */
  readonly ids: string;
  readonly id: number;
}

function idsOfThis(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

/** The processors that this process may use, as the kernel writes them; empty elsewhere. */
function coresOfThis(): string {
  try {
    return /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
  } catch {
    return "";
  }
}

/** A launcher that is killed leaves processes that wait for others for ever, and perhaps a script between them and itself. */
function watchLauncher(): void {
  const { ppid } = process;
  const launcher = launcherAbove()?.id ?? ppid;
  const timer = setInterval(() => {
    if (process.ppid !== ppid || !isAlive(launcher)) process.kill(process.pid, "SIGKILL");
  }, WATCH_MS);
  timer.unref();
}

function isAlive(id: number): boolean {
  try {
    return process.kill(id, 0);
  } catch (thrown) {
    // Slurm's is root's.
    return systemCode(thrown) === "EPERM";
  }
}
