import { brief } from "../../files/failure.ts";
import { nestsDeeper } from "../../files/json.ts";
import { ApiError } from "./api-error.ts";

/** Of arrays and objects in each other: far more than requests need, far less than what overflows a stack. */
export const MAX_BODY_DEPTH = 100;
/** What a request counts as at least while it is read: 2048 of one network, then. */
export const LEAST_BYTES = 16 * 1024;
/** Who needs longer for that is not going to finish. */
const MAX_SECONDS = 60;

/** Reads the bodies of requests, no more at a time than memory is for. */
export class Bodies {
  readonly #held = new HeldBytes("too many requests are being read: try again later");

  /**
   * Reads a body and hands it on; its memory counts until `use` is done.
   * @param network where it comes from
   * @throws ApiError 413 when it is longer than {@link MAX_BODY_BYTES}, 415 when it is compressed, 429 as `HeldBytes`, 408 when it does not come
   */
  async with<T>(request: Request, network: string, use: (body: Uint8Array) => Promise<T>): Promise<T> {
    let [size, held] = [0, 0];
    const hold = (more: number): void => {
      size += more;
      const missing = Math.max(LEAST_BYTES, size) - held;
      held += missing;
      this.#held.hold(network, missing);
    };
    try {
      hold(0);
      return await use(await readBytes(request, hold));
    } finally {
      this.#held.give(network, held);
    }
  }
}

/** @throws ApiError 400 for what is not JSON in UTF-8, or nested deeper than {@link MAX_BODY_DEPTH} */
export function parseBody(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // Here, once: whatever walks through the values later (schemas, templates, `JSON.stringify`) calls itself.
    if (nestsDeeper(text, MAX_BODY_DEPTH)) throw tooDeep();
    return JSON.parse(text);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError(400, "the body is not JSON in UTF-8", { cause });
  }
}

function tooDeep(): ApiError {
  return new ApiError(400, `the body has arrays and objects nested more than ${MAX_BODY_DEPTH} deep`);
}

function tooLarge(): ApiError {
  return new ApiError(413, `the body is longer than ${MAX_BODY_BYTES} bytes`, { code: "request_too_large" });
}

/** @param onBytes told of every chunk's length; may throw */
async function readBytes(request: Request, onBytes: (count: number) => void): Promise<Uint8Array> {
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new ApiError(415, `the body is encoded (${brief(encoding)}): send it without Content-Encoding`);
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void reader.cancel();
  }, MAX_SECONDS * 1000);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (late) throw new ApiError(408, `the body did not come within ${MAX_SECONDS} s`);
      if (done) return Buffer.concat(chunks);
      size += value.length;
      // Trusting the header alone would let a chunked body grow without end.
      if (size > MAX_BODY_BYTES) throw tooLarge();
      onBytes(value.length);
      chunks.push(value);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Far more than the longest context holds in text, far less than what would fill the memory. */
export const MAX_BODY_BYTES = 4 * 2 ** 20;
/** Of all connections together: what has been sent, and is not yet a prompt; or has been answered, and is not yet taken. */
export const MAX_HELD_BYTES = 16 * MAX_BODY_BYTES;
/** Of one network's: the rest is there for others. */
export const MAX_NETWORK_BYTES = MAX_HELD_BYTES / 2;

/** Counts what is held for networks. */
class HeldBytes {
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
