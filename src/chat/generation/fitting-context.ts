import { megabytes, sharesMachine } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import { Batch, MOST_PASSES } from "../../models/decoder/cache/batch.ts";
import { inBlocks, kvBytes, layerBytes, PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { mostPositions } from "../../models/decoder/positions.ts";
import { FEW } from "./prompt-pieces.ts";
import { SOFTWARE_BLOCK } from "./running.ts";

/** Part of what `--memory` allows that is left for adapters that are merged later. */
const KEPT = 1 / 16;
/** What the program takes beside the device's buffers, where these are in the machine's memory: its code, a tokenizer, and garbage until it is collected (bench/serve.ts). */
const PROGRAM = 320e6;
/** Matrices that grow leave holes where nothing as large fits: as a part of keys and values. */
const HOLES = 1 / 8;
/** Blocks of positions that no text has. */
const MOST_BLOCKS = 2 ** 24;

/** Positions of one sequence, and of the keys and values of all of them. */
export interface FittingContext {
  readonly context: number;
  readonly positions: number;
  /** What the user should know: it is shorter than the model's own, or longer. */
  readonly notes: readonly string[];
}

/**
 * As long a context as `--memory` leaves room for beside the weights, which are loaded, and the largest pass.
 * @param wanted `--context` (undefined: the model's own), and sequences that are decoded together
 * @throws RandloraError `memory` where that is less than was asked for, or than any prompt takes; `usage` for one that the model
 *   has no positions for
 */
export async function fittingContext(
  decoder: Decoder,
  { asked, rows }: { readonly asked: number | undefined; readonly rows: number },
): Promise<FittingContext> {
  const context = asked ?? decoder.config.contextLength;
  const learned = mostPositions(decoder.config);
  if (context > learned) {
    const cause = `--context ${context}: this model has position embeddings for ${learned} tokens`;
    throw new RandloraError("usage", cause, `give at most ${learned}`);
  }
  const { limit } = decoder.gpu.memory;
  const wanted = rows * inBlocks(context);
  const { positions, taken } = await fittingPositions(decoder, rows);
  if (positions >= inBlocks(context)) {
    const longest = decoder.config.contextLength;
    const note = `--context ${context}: the model was made for ${longest} tokens; beyond them its answers may make no sense`;
    return { context, positions: Math.min(wanted, positions), notes: context > longest ? [note] : [] };
  }
  const [needed, beside, most] = [cacheBytes(decoder, inBlocks(context), rows), taken, limit].map(megabytes);
  const cause = `keys and values of ${context} tokens take ${needed} beside ${beside} of weights, activations and room for adapters, and --memory allows ${most}`;
  const less = { F32: "--kv-type f16 takes half, q8_0 about a quarter, ", F16: "--kv-type q8_0 takes about half, " };
  const halves = decoder.kvDtype === "Q8_ROWS" ? "" : less[decoder.kvDtype];
  const hint = positions > 0 ? `--context ${positions} fits` : "--quantize q4 leaves more";
  if (asked !== undefined || positions <= 0) {
    throw new RandloraError("memory", cause, `${hint}, ${halves}or raise --memory`);
  }
  return { context: positions, positions, notes: [`the context ends at ${positions} tokens: ${cause}`] };
}

/** How many positions of keys and values `--memory` leaves room for. */
interface FittingPositions {
  /** In whole blocks; Infinity: nobody said. */
  readonly positions: number;
  /** Bytes of what is there and of the largest pass. */
  readonly taken: number;
}

/** @param rows sequences that are decoded together */
export async function fittingPositions(decoder: Decoder, rows: number): Promise<FittingPositions> {
  const { limit, liveBytes } = decoder.gpu.memory;
  if (limit === Infinity) return { positions: Infinity, taken: 0 };
  const taken = liveBytes + limit * KEPT + (await passBytes(decoder, rows));
  const fits = (blocks: number): boolean => cacheBytes(decoder, blocks * inBlocks(1), rows) <= limit - taken;
  // As many blocks as are too many, and fewer that fit: layers with a window take no more from some length on.
  let [least, above] = [0, MOST_BLOCKS];
  if (fits(above)) return { positions: Infinity, taken };
  while (above - least > 1) {
    const middle = Math.floor((least + above) / 2);
    if (fits(middle)) least = middle;
    else above = middle;
  }
  return { positions: least * inBlocks(1), taken };
}

/** What texts are decoded with at most. */
interface Planned {
  readonly rows: number;
  readonly positions: number;
  /** What rows of a batch may go through; undefined: nothing. */
  readonly adapters?: readonly (AdapterLinears | undefined)[];
}

/**
 * Bytes that decoding so many sequences takes at most: what is there already, keys and values of so many positions, the largest pass, and, where
 * the device computes in the machine's memory, the program itself and holes.
 */
export async function plannedBytes(decoder: Decoder, { rows, positions, adapters }: Planned): Promise<number> {
  const { info, memory } = decoder.gpu;
  const cache = cacheBytes(decoder, positions, rows);
  const taken = memory.liveBytes + (await passBytes(decoder, rows, adapters)) + cache;
  return taken + (sharesMachine(info) ? PROGRAM + HOLES * cache : 0);
}

/** Bytes of keys and values, and of a layer of them that exists twice while those of several sequences are laid out anew. */
function cacheBytes({ config, kvDtype }: Decoder, positions: number, rows: number): number {
  const bytes = kvBytes(config, positions, kvDtype, rows);
  const largest = Math.max(...config.layers.map((layer) => layerBytes(layer, positions, kvDtype, rows)));
  return rows === 1 ? bytes : bytes + largest;
}

/** Bytes of the largest pass, without keys and values. @param adapters what rows may go through */
async function passBytes(
  decoder: Decoder,
  rows: number,
  adapters: readonly (AdapterLinears | undefined)[] = [undefined],
): Promise<number> {
  const counting = decoder.counting();
  const length = Math.min(PROMPT_BLOCK, mostPositions(decoder.config) - 1);
  using batch = new Batch(counting, { rows, positions: inBlocks(PROMPT_BLOCK + 1) + rows * inBlocks(1) });
  const { pool, mixes } = batch;
  const wanted = { id: 0, top: 1, all: true, lse: true };
  const tokens = Array.from({ length: rows }, (_, at) => {
    return { slot: pool.acquire(adapters[at % adapters.length]), ...wanted };
  });
  const spare = pool.acquire();
  for (const { slot } of tokens) await pool.reserve(slot, 1);
  // All that the pool comes to, as it is taken off in the end.
  await pool.reserve(spare, length + 1);
  pool.release(spare);
  // Passes over several numbers of sequences stay recorded.
  for (let count = rows; count > Math.max(0, rows - MOST_PASSES); count--) await batch.pass(tokens.slice(0, count));
  for (const adapter of length > 0 ? new Set(adapters) : []) {
    const slot = pool.acquire(adapter);
    const pieceOf = (count: number, of = slot) => {
      return { slot: of, ids: Array.from({ length: count }, () => 0), sequenceLength: length + 1 };
    };
    await batch.pass([], pieceOf(length));
    slot.truncate(0);
    // It may decode the token behind the piece, too, but where layers keep states.
    const written = [...tokens.slice(1), ...(pool.keepsStates ? [] : [{ slot, ...wanted }])];
    if (mixes) await batch.pass(written, pieceOf(Math.min(length, SOFTWARE_BLOCK + FEW)));
    else if (rows > 1 && length > 1) await batch.pass([], pieceOf(length - 1), pieceOf(1, tokens[0]?.slot));
    pool.release(slot);
  }
  return counting.gpu.memory.peakLiveBytes - pool.bytes;
}
