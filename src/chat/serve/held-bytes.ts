import { ApiError } from "./api-error.ts";

/** Far more than the longest context holds in text, far less than what would fill the memory. */
export const MAX_BODY_BYTES = 4 * 2 ** 20;
/** Of all connections together: what has been sent, and is not yet a prompt; or has been answered, and is not yet taken. */
export const MAX_HELD_BYTES = 16 * MAX_BODY_BYTES;
/** Of one network's: the rest is there for others. */
export const MAX_NETWORK_BYTES = MAX_HELD_BYTES / 2;

/** Counts what is held for networks. */
export class HeldBytes {
  readonly #refusal: string;
  #held = 0;
  readonly #heldBy = new Map<string, number>();

  /** @param refusal what those are told for whom there is no room */
  constructor(refusal: string) {
    this.#refusal = refusal;
  }

  /**
   * Counts more, which whoever is refused gives back as well.
   * @throws ApiError 429 when it is more than {@link MAX_HELD_BYTES} together, or {@link MAX_NETWORK_BYTES} of the network
   */
  hold(network: string, bytes: number): void {
    if (this.#add(network, bytes) <= MAX_NETWORK_BYTES && this.#held <= MAX_HELD_BYTES) return;
    throw new ApiError(429, this.#refusal, { code: "rate_limit_exceeded", headers: { "retry-after": "1" } });
  }

  give(network: string, bytes: number): void {
    this.#add(network, -bytes);
  }

  /** @returns what the network has now */
  #add(network: string, more: number): number {
    const own = (this.#heldBy.get(network) ?? 0) + more;
    if (own === 0) this.#heldBy.delete(network);
    else this.#heldBy.set(network, own);
    this.#held += more;
    return own;
  }
}
