import { brief } from "../../files/failure.ts";
import { nestsDeeper } from "../../files/json.ts";
import { ApiError } from "./api-error.ts";
import { HeldBytes, MAX_BODY_BYTES } from "./held-bytes.ts";

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
