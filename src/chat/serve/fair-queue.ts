/** What the queue goes by. */
export interface QueuedJob {
  /** Where it comes from. */
  readonly network: string;
  /** Whose it is, of those who ask from there. */
  readonly user: string;
  /** The model that must be resident. */
  readonly model: string | symbol;
}

/** How often the job whose turn it is lets one for the resident model go first. */
export const MAX_OVERTAKEN = 8;

/**
 * Jobs that wait for the one GPU. Networks take turns, and within each its users, so that neither many requests nor many
 * invented names keep others waiting; a user's own jobs stay in order. Since another model costs a merge, jobs for the
 * resident one go first, but the job whose turn it is is overtaken at most `MAX_OVERTAKEN` times.
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
   * @param resident the model whose weights are in place
   * @param mayGo which jobs may be given out; those that may not are passed over
   * @returns undefined when nobody waits
   */
  next(resident: string | symbol | undefined, mayGo: (job: T) => boolean = () => true): T | undefined {
    const firsts = Array.from(this.#networks.values(), (users) => Array.from(users.values(), ([job]) => job))
      .flat()
      .filter((job) => job !== undefined)
      .filter(mayGo);
    const [first] = firsts;
    if (first === undefined) return undefined;
    const near = this.#overtaken < MAX_OVERTAKEN ? firsts.find(({ model }) => model === resident) : undefined;
    const chosen = near ?? first;
    this.#overtaken = chosen === first ? 0 : this.#overtaken + 1;
    this.remove(chosen);
    const users = this.#networks.get(chosen.network);
    if (users !== undefined) moveToEnd(users, chosen.user);
    moveToEnd(this.#networks, chosen.network);
    return chosen;
  }

  /** All jobs in the order in which {@link next} gives them out, if no more come. */
  order(resident: string | symbol | undefined): readonly T[] {
    if (this.#order !== undefined && this.#order.resident === resident) return this.#order.jobs;
    const copy = new FairQueue<T>();
    copy.#overtaken = this.#overtaken;
    copy.#size = this.#size;
    for (const [network, users] of this.#networks) {
      copy.#networks.set(network, new Map(Array.from(users, ([user, jobs]) => [user, [...jobs]])));
    }
    const jobs: T[] = [];
    for (let job = copy.next(resident); job !== undefined; job = copy.next(job.model)) jobs.push(job);
    this.#order = { resident, jobs };
    return jobs;
  }

  /**
   * The job that gives way to another one from `network` where no more may wait: the last one of the user who has most, in
   * the network that has most.
   * @returns undefined: no network would have more than this one then
   */
  displacedBy(network: string): T | undefined {
    const waiting = (users: ReadonlyMap<string, readonly T[]> | undefined) =>
      [...(users?.values() ?? [])].reduce((sum, jobs) => sum + jobs.length, 0);
    const crowded = mostOf([...this.#networks.values()], waiting);
    if (waiting(crowded) <= waiting(this.#networks.get(network)) + 1) return undefined;
    return mostOf([...(crowded?.values() ?? [])], (jobs) => jobs?.length ?? 0)?.at(-1);
  }

  /** Empties the queue. */
  drain(): T[] {
    const all = [...this.#networks.values()].flatMap((users) => [...users.values()].flat());
    this.#networks.clear();
    this.#order = undefined;
    this.#size = 0;
    return all;
  }
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
