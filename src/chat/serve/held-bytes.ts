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

/** Longer answers are handed on in parts of so many bytes, as they are taken. */
const PART = 64 * 1024;

/** Answers that are there and have not been taken, no more at a time than memory is for. */
export class UnreadAnswers {
  readonly #held = new HeldBytes("too many long answers have not been taken: read them, and try again later");

  /**
   * Counts a JSON answer until its last part has been taken, or its client has left; streams have a limit of their own. One that is longer
   * than all that a network may have (2048 embeddings of 1024 numbers are) counts as that: it has to be the only one.
   * @throws ApiError 429, see `HeldBytes`
   */
  async counted(answer: Response, network: string): Promise<Response> {
    if (answer.headers.get("content-type")?.startsWith("application/json") !== true) return answer;
    const bytes = await answer.bytes();
    if (bytes.length <= PART) return new Response(bytes, answer);
    let left = Math.min(bytes.length, MAX_NETWORK_BYTES);
    const end = (): void => {
      this.#held.give(network, left);
      left = 0;
    };
    try {
      this.#held.hold(network, left);
    } catch (refused) {
      end();
      throw refused;
    }
    let at = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      if (at < bytes.length) return controller.enqueue(bytes.subarray(at, (at += PART)));
      end();
      controller.close();
    };
    return new Response(new ReadableStream({ pull, cancel: end }), answer);
  }
}
