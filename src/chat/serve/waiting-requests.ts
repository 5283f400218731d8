import { formatAmount } from "../../terminal/format.ts";
import { ApiError } from "./api-error.ts";
import { FairQueue, type QueuedJob } from "./fair-queue.ts";

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
