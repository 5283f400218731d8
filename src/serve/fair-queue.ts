/** What the queue goes by. */
export interface QueuedJob {
  /** Who asks. */
  readonly client: string;
  /** The model that must be resident. */
  readonly model: string;
}

/** How often the job whose turn it is lets one for the resident model go first. */
export const MAX_OVERTAKEN = 8;

/**
 * Jobs that wait for the one GPU. Clients take turns, so that one with many requests does not keep the others waiting;
 * a client's own jobs stay in order. Since another model costs a merge, jobs for the resident one go first, but the job
 * whose turn it is is overtaken at most `MAX_OVERTAKEN` times.
 */
export class FairQueue<T extends QueuedJob> {
  /** Jobs by client; the clients in the order of their turns, each with at least one job. */
  readonly #clients = new Map<string, T[]>();
  #size = 0;
  #overtaken = 0;

  get size(): number {
    return this.#size;
  }

  add(job: T): void {
    const jobs = this.#clients.get(job.client);
    if (jobs === undefined) this.#clients.set(job.client, [job]);
    else jobs.push(job);
    this.#size++;
  }

  /** Takes a job out whose client has gone. @returns false when it is no longer there */
  remove(job: T): boolean {
    const jobs = this.#clients.get(job.client) ?? [];
    const at = jobs.indexOf(job);
    if (at < 0) return false;
    jobs.splice(at, 1);
    if (jobs.length === 0) this.#clients.delete(job.client);
    this.#size--;
    return true;
  }

  /** @param resident the model whose weights are in place. @returns undefined when nobody waits */
  next(resident: string | undefined): T | undefined {
    const firsts = Array.from(this.#clients.values(), ([job]) => job).filter((job) => job !== undefined);
    const [first] = firsts;
    if (first === undefined) return undefined;
    const near = this.#overtaken < MAX_OVERTAKEN ? firsts.find(({ model }) => model === resident) : undefined;
    const chosen = near ?? first;
    this.#overtaken = chosen === first ? 0 : this.#overtaken + 1;
    this.remove(chosen);
    // The client goes to the end of the line.
    const rest = this.#clients.get(chosen.client);
    if (rest !== undefined) {
      this.#clients.delete(chosen.client);
      this.#clients.set(chosen.client, rest);
    }
    return chosen;
  }

  /** Empties the queue. */
  drain(): T[] {
    const all = [...this.#clients.values()].flat();
    this.#clients.clear();
    this.#size = 0;
    return all;
  }
}
