import { ApiError } from "./api-error.ts";

/** Far more than the longest context holds in text, far less than what would fill the memory. */
export const MAX_BODY_BYTES = 4 * 2 ** 20;
/** Who needs longer for that is not going to finish. */
const MAX_SECONDS = 60;

/**
 * Reads a request's body as JSON.
 * @throws ApiError 413 when it is longer than `limit`, 408 when it does not come, 400 when it is not JSON in UTF-8
 */
export async function readJson(request: Request, limit = MAX_BODY_BYTES): Promise<unknown> {
  const bytes = await readBytes(request, limit);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ApiError(400, "the body is not JSON in UTF-8", { cause });
  }
}

async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  const tooLarge = (): ApiError =>
    new ApiError(413, `the body is longer than ${limit} bytes`, { code: "request_too_large" });
  if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLarge();
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
      if (size > limit) throw tooLarge();
      chunks.push(value);
    }
  } finally {
    clearTimeout(timer);
  }
}
