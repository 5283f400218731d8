import { megabytes } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";

/** Tokens of a window that are not halved any more. */
const LEAST = 16;

/**
 * Refuses a window that `--memory` leaves no room for beside the weights, which are loaded.
 * @param tokens of the window
 * @throws RandloraError `memory`, with a window that fits
 */
export async function refuseLargeWindow(decoder: Decoder, tokens: number): Promise<void> {
  const { limit, liveBytes } = decoder.gpu.memory;
  if (limit === Infinity) return;
  const bytes = await windowBytes(decoder, tokens);
  if (liveBytes + bytes <= limit) return;
  let fitting = tokens >>> 1;
  while (fitting >= LEAST && liveBytes + (await windowBytes(decoder, fitting)) > limit) fitting >>>= 1;
  const cause = `windows of ${tokens} tokens take ${megabytes(bytes)} beside ${megabytes(liveBytes)} of weights, and --memory allows ${megabytes(limit)}`;
  const smaller = fitting >= LEAST ? `--context ${fitting} fits` : "--quantize q4 leaves more";
  throw new RandloraError("memory", cause, `${smaller}, or raise --memory`);
}

/** Bytes that a window takes, its keys and values included. */
async function windowBytes(decoder: Decoder, tokens: number): Promise<number> {
  const counting = decoder.counting();
  using cache = counting.createCache();
  await counting.nll(
    cache,
    Array.from({ length: tokens }, () => 0),
  );
  return counting.gpu.memory.peakLiveBytes;
}
