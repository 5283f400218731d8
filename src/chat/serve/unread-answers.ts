import { HeldBytes, MAX_NETWORK_BYTES } from "./held-bytes.ts";

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
