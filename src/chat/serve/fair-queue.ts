import { formatAmount } from "../../terminal/format.ts";
import { ApiError } from "./api-error.ts";

/** What the queue goes by. */
export interface QueuedJob {
  /** Where it comes from. */
  readonly network: string;
  /** Whose it is, of those who ask from there. */
  readonly user: string;
  /** The model that must be resident. */
  readonly model: string | symbol;
}

/** How often the job whose turn it is lets one that could begin at once go first. */
export const MAX_OVERTAKEN = 8;

/**
 * Jobs that wait for the one GPU. Networks take turns, and within each its users, so that neither many requests nor many
 * invented names keep others waiting; a user's own jobs stay in order. Since another model costs a merge, jobs that could
 * begin without one go first, but the job whose turn it is is overtaken at most `MAX_OVERTAKEN` times.
 */
export class FairQueue<T extends QueuedJob> {
  /** Jobs by network and user; both in the order of their turns, each with at least one job. */
  readonly #networks = new Map<string, Map<string, T[]>>();
  #size = 0;
  #overtaken = 0;
  /** What {@link order} gave last, as long as it holds: it is asked for with every token. */
  #order: { readonly resident: string | symbol | undefined; readonly jobs: readonly T[] } | undefined;

  get size(): number {
    return this.#size;
  }

  add(job: T): void {
    this.#order = undefined;
    const users = this.#networks.get(job.network) ?? new Map<string, T[]>();
    this.#networks.set(job.network, users);
    const jobs = users.get(job.user);
    if (jobs === undefined) users.set(job.user, [job]);
    else jobs.push(job);
    this.#size++;
  }

  has(job: T): boolean {
    return this.#networks.get(job.network)?.get(job.user)?.includes(job) === true;
  }

  /** Takes a job out whose client has gone. @returns false when it is no longer there */
  remove(job: T): boolean {
    const users = this.#networks.get(job.network);
    const jobs = users?.get(job.user) ?? [];
    const at = jobs.indexOf(job);
    if (at < 0) return false;
    this.#order = undefined;
    jobs.splice(at, 1);
    if (jobs.length === 0) users?.delete(job.user);
    if (users?.size === 0) this.#networks.delete(job.network);
    this.#size--;
    return true;
  }

  /**
   * The job that goes next; it stays in the queue until it is taken.
   * @param isReady which jobs could begin at once
   * @param mayGo which jobs may be given out; those that may not are passed over, however often
   * @returns undefined when nobody waits
   */
  first(isReady: (job: T) => boolean, mayGo: (job: T) => boolean = () => true): T | undefined {
    let first: T | undefined;
    for (const job of this.#heads()) {
      if (!mayGo(job)) continue;
      first ??= job;
      if (this.#overtaken >= MAX_OVERTAKEN) break;
      if (isReady(job)) return job;
    }
    return first;
  }

  /** Takes out a job that `first` gave: others have the next turns. */
  take(job: T): void {
    const [first] = this.#heads();
    this.#overtaken = job === first ? 0 : this.#overtaken + 1;
    this.remove(job);
    const users = this.#networks.get(job.network);
    if (users !== undefined) moveToEnd(users, job.user);
    moveToEnd(this.#networks, job.network);
  }

  /** All jobs in the order in which they go, if no more come and each makes its model resident. */
  order(resident: string | symbol | undefined): readonly T[] {
    if (this.#order !== undefined && this.#order.resident === resident) return this.#order.jobs;
    const copy = this.#copy();
    const jobs: T[] = [];
    const next = (): T | undefined => copy.first(({ model }) => model === (jobs.at(-1)?.model ?? resident));
    for (let job = next(); job !== undefined; job = next()) {
      copy.take(job);
      jobs.push(job);
    }
    this.#order = { resident, jobs };
    return jobs;
  }

  /**
   * The jobs that give way to more where `most` may wait: for each the last one of the user who has most, in the network that
   * has most.
   * @returns undefined: not all of the new ones would have room, as no network has more than theirs then
   */
  displacedBy(jobs: readonly T[], most: number): readonly T[] | undefined {
    if (this.#size + jobs.length <= most) return [];
    const copy = this.#copy();
    const displaced: T[] = [];
    for (const job of jobs) {
      if (copy.size >= most) {
        const last = copy.#lastOfMost(job.network);
        if (last === undefined) return undefined;
        copy.remove(last);
        displaced.push(last);
      }
      copy.add(job);
    }
    return displaced;
  }

  /** Empties the queue. */
  drain(): T[] {
    const all = [...this.#networks.values()].flatMap((users) => [...users.values()].flat());
    this.#networks.clear();
    this.#order = undefined;
    this.#size = 0;
    return all;
  }

  /** The first job of each user, in the order of turns. */
  *#heads(): Generator<T, void> {
    for (const users of this.#networks.values()) for (const [job] of users.values()) if (job !== undefined) yield job;
  }

  #lastOfMost(network: string): T | undefined {
    const crowded = mostOf([...this.#networks.values()], sizeOf);
    if (sizeOf(crowded) <= sizeOf(this.#networks.get(network)) + 1) return undefined;
    return mostOf([...(crowded?.values() ?? [])], (jobs) => jobs?.length ?? 0)?.at(-1);
  }

  #copy(): FairQueue<T> {
    const copy = new FairQueue<T>();
    copy.#overtaken = this.#overtaken;
    copy.#size = this.#size;
    for (const [network, users] of this.#networks) {
      copy.#networks.set(network, new Map(Array.from(users, ([user, jobs]) => [user, [...jobs]])));
    }
    return copy;
  }
}

/** Jobs of all users of a network. */
function sizeOf(users: ReadonlyMap<string, readonly unknown[]> | undefined): number {
  return [...(users?.values() ?? [])].reduce((sum, jobs) => sum + jobs.length, 0);
}

/** Who had a turn goes to the end of the line. */
function moveToEnd<V>(line: Map<string, V>, name: string): void {
  const value = line.get(name);
  if (value === undefined) return;
  line.delete(name);
  line.set(name, value);
}

/** The last of those with the largest count. */
function mostOf<V>(values: readonly V[], count: (value: V | undefined) => number): V | undefined {
  return values.reduce<V | undefined>((most, value) => (count(value) >= count(most) ? value : most), undefined);
}

/** A text that waits for a slot. */
export interface WaitingRequest extends QueuedJob {
  /** Its places, until it begins or has to leave. */
  readonly out: { push(place: number): void; fail(reason: unknown): void };
  /** That it was told. */
  place?: number;
}

/** Texts that wait for a slot, as many as a server holds: in a fair order, each told its place. */
export class WaitingRequests<T extends WaitingRequest> extends FairQueue<T> {
  readonly #most: number;
  readonly #slots: number;
  /** The order in which places were told last. */
  #told: readonly T[] = [];
  /** Seconds from one finished text to the next with all slots busy, smoothed; for `Retry-After`. */
  #seconds = 1;

  /** @param most texts that may wait where all of so many `slots` are taken */
  constructor(most: number, slots: number) {
    super();
    this.#most = most;
    this.#slots = slots;
  }

  /**
   * Puts all texts of a request into the queue, or none. Where that is full, those of the network that has most in it give way.
   * @param free slots that those who wait are going to have at once
   * @throws ApiError 429 when too many wait and not enough of them are to give way, 400 where there never is room
   */
  addAll(texts: readonly T[], free: number): void {
    const most = this.#most + this.#slots;
    if (texts.length > most) {
      const limit = `${most} at a time (its --queue-length and --parallel)`;
      throw new ApiError(400, `the request asks for ${texts.length} sequences, and this server takes ${limit}`);
    }
    const displaced = this.displacedBy(texts, this.#most + free);
    if (displaced === undefined) throw this.#full(texts.length);
    for (const one of displaced) this.leave(one, this.#full(1));
    for (const one of texts) this.add(one);
  }

  /** Takes out one that has not begun. */
  leave(waiting: T, reason: unknown): void {
    if (this.remove(waiting)) waiting.out.fail(reason);
  }

  /** Tells each its place, from 1, if that is another one than before. @param resident the model whose weights are in place */
  tellPlaces(resident: QueuedJob["model"] | undefined): void {
    const order = this.order(resident);
    if (order === this.#told) return;
    this.#told = order;
    for (const [at, waiting] of order.entries()) {
      if (waiting.place === at + 1) continue;
      waiting.place = at + 1;
      waiting.out.push(waiting.place);
    }
  }

  turnAway(reason: ApiError): void {
    for (const { out } of this.drain()) out.fail(reason);
  }

  /** Counts a sequence that ended. @param seconds that it took, by the number of slots */
  ended(seconds: number): void {
    this.#seconds += (seconds - this.#seconds) / 8;
  }

  #full(count: number): ApiError {
    const wait = Math.min(60, Math.max(1, Math.ceil(this.#seconds)));
    const waiting = `${formatAmount(this.size, "sequence")} waiting already`;
    return new ApiError(429, `no room for ${formatAmount(count, "sequence")}, with ${waiting}: try again later`, {
      code: "rate_limit_exceeded",
      headers: { "retry-after": String(wait) },
    });
  }
}
