import { ApiError } from "./api-error.ts";
import { FairQueue, type QueuedJob } from "./fair-queue.ts";

/** A request that waits for a slot. */
export interface WaitingRequest extends QueuedJob {
  /** Its places, until it begins or has to leave. */
  readonly out: { push(place: number): void; fail(reason: unknown): void };
  /** That it was told. */
  place?: number;
}

/** Requests that wait for a slot, as many as a server holds: in a fair order, each told its place. */
export class WaitingRequests<T extends WaitingRequest> {
  readonly #most: number;
  readonly #queue = new FairQueue<T>();
  /** The one whose turn it is, and which cannot begin yet. */
  #next: T | undefined;
  /** Seconds from one finished request to the next with all slots busy, smoothed; for `Retry-After`. */
  #seconds = 1;

  /** @param most requests that may wait */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#queue.size + (this.#next === undefined ? 0 : 1);
  }

  /**
   * Puts a request into the queue. Where that is full, one of the network that has most in it gives way.
   * @throws ApiError 429 when too many wait and none of them is to give way
   */
  add(waiting: T): void {
    if (this.#queue.size >= this.#most) {
      const displaced = this.#queue.displacedBy(waiting.network);
      if (displaced === undefined) throw this.#full();
      this.leave(displaced, this.#full());
    }
    this.#queue.add(waiting);
  }

  /** The one whose turn it is, until it begins or leaves. @param resident the model whose weights are in place */
  next(resident: QueuedJob["model"] | undefined): T | undefined {
    return (this.#next ??= this.#queue.next(resident));
  }

  /** It is still this one's turn: it has not left meanwhile. */
  isNext(waiting: T): boolean {
    return this.#next === waiting;
  }

  /** Says that the one whose turn it was has begun. */
  begun(): void {
    this.#next = undefined;
  }

  /** Takes a request that has not begun out of the queue. */
  leave(waiting: T, reason: unknown): void {
    if (this.#next === waiting) this.#next = undefined;
    else if (!this.#queue.remove(waiting)) return;
    waiting.out.fail(reason);
  }

  /** Tells each its place, from 1, if that is another one than before. @param resident see `next` */
  tellPlaces(resident: QueuedJob["model"] | undefined): void {
    if (this.size === 0) return;
    const before = this.#next === undefined ? [] : [this.#next];
    for (const [at, waiting] of [...before, ...this.#queue.order(this.#next?.model ?? resident)].entries()) {
      if (waiting.place === at + 1) continue;
      waiting.place = at + 1;
      waiting.out.push(waiting.place);
    }
  }

  turnAway(reason: ApiError): void {
    const next = this.#next;
    this.#next = undefined;
    for (const { out } of [...(next === undefined ? [] : [next]), ...this.#queue.drain()]) out.fail(reason);
  }

  /** Counts a request that ended. @param seconds that it took, by the number of slots */
  ended(seconds: number): void {
    this.#seconds += (seconds - this.#seconds) / 8;
  }

  #full(): ApiError {
    const wait = Math.min(60, Math.max(1, Math.ceil(this.#seconds)));
    return new ApiError(429, `${this.#queue.size} requests are waiting already: try again later`, {
      code: "rate_limit_exceeded",
      headers: { "retry-after": String(wait) },
    });
  }
}
