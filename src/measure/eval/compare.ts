import { type BlocksName, type KvName, NAMED_BLOCKS, NAMED_KV } from "../../compute/device/dtype.ts";
import type { Device, KernelTime } from "../../compute/device/device.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { type AdapterChoice, MergedCheckpoint } from "../../adapters/merge/merged-checkpoint.ts";
import { placeUnmerged } from "../../adapters/merge/in-memory/beside.ts";
import { megabytes } from "../../compute/device/memory-limit.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import type { Quantized } from "../../models/decoder/weights.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { ALONE, type Processes } from "../../mpi/processes.ts";
import { RandloraError } from "../../files/errors.ts";
import { refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { type Perplexity, perplexity, type PerplexityOptions } from "./perplexity.ts";

/** What is measured: a model, and the same model with an adapter. */
export interface Comparison {
  readonly base: Perplexity;
  /** With W' = W + ΔW in f32, as training sees it. */
  readonly adapted?: Perplexity | undefined;
  /** With the bytes that `merge` would write. */
  readonly merged?: Perplexity | undefined;
  /** The dtypes that the merged weights are stored in. */
  readonly mergedDtypes: readonly string[];
  /** What the user should know of the adapter: one line each. */
  readonly notes: readonly string[];
  /** The quantized weights: adapters are then added beside them. */
  readonly quantized?: Quantized | undefined;
  /** Of all that was predicted. */
  readonly tokensPerSecond: number;
  /** GPU time by kernel; empty unless the GPU was opened to measure it. */
  readonly profile: readonly KernelTime[];
}

/** What is predicted: each text by itself, and of it every token but the first. */
export interface Texts {
  readonly count: number;
  /** Tokens of one at most, and of all. */
  readonly size: number;
  readonly tokens: number;
  /** The base writes them. */
  readonly isDrawn: boolean;
  ids(decoder: Decoder, on: PerplexityOptions): Promise<readonly (readonly number[])[]>;
}

/** Texts that are there. @param size tokens of one at most */
export function givenTexts(texts: readonly (readonly number[])[], size: number): Texts {
  const tokens = texts.reduce((sum, { length }) => sum + length, 0);
  return { count: texts.length, size, tokens, isDrawn: false, ids: async () => texts };
}

export interface ComparisonOptions {
  readonly location: ModelLocation;
  readonly adapter?: AdapterChoice | undefined;
  /** Of the base on the same texts, where that was measured before: with an adapter it is then not measured again. */
  readonly known?: Perplexity | undefined;
  readonly generator?: GeneratorName | undefined;
  /** Measure what merging leaves of the adapter, too. */
  readonly merged: boolean;
  /** `--quantize`: what the layers' weights are held in. */
  readonly quantize?: BlocksName | undefined;
  /** `--kv-type`: what keys and values are held in. */
  readonly kvType?: KvName | undefined;
  /** Opens the GPU, once the adapter has been found to fit; the caller closes it. */
  readonly open: () => Promise<Device>;
  /** Told how many times the texts are gone through, before that begins. */
  readonly onPasses?: (passes: number) => void;
  /** Told the number of tokens after each text. */
  readonly onTokens?: (tokens: number) => void;
  readonly signal?: AbortSignal;
  /** That share the texts; this one alone by default. */
  readonly processes?: Processes | undefined;
}

/**
 * Perplexities of texts, side by side. The weights are read once: those that the adapter changes are held in f32, which
 * holds every bf16 or f16 number as it is, so that the base and the merged model keep their values; blocks stay blocks.
 * @throws RandloraError `usage` for `merged` where weights are quantized; as `MergedCheckpoint.open`, `Decoder.load` and `perplexity`
 */
export async function comparePerplexity(texts: Texts, options: ComparisonOptions): Promise<Comparison> {
  const { location, adapter, known, generator, merged, quantize, kvType = "f32", open } = options;
  const { onPasses, onTokens, signal, processes = ALONE } = options;
  const { folder, weights } = location;
  await using planned = adapter && (await MergedCheckpoint.open(weights ?? folder, [adapter], { generator }));
  const changes = planned?.changes ?? [];
  const touched = new Set(changes.map(({ name }) => name)).difference(planned?.inBlocks ?? new Set());
  const mergedDtypes = [...new Set(changes.map(({ dtype }) => dtype))].toSorted();
  // Where the checkpoint is f32 already, merging writes the very numbers that are adapted.
  const rounds = merged && mergedDtypes.some((dtype) => dtype !== "F32");
  const gpu = await open();
  await refuseOtherDevice(processes, gpu);
  using decoder = await loadDecoder(gpu, folder, {
    weights,
    quantize: quantize && NAMED_BLOCKS[quantize],
    kvDtype: NAMED_KV[kvType],
    dtype: (names) => (names.some((name) => touched.has(name)) ? "F32" : undefined),
    ...(signal === undefined ? {} : { signal }),
  });
  await refuseLargeWindow(decoder, Math.min(texts.size, texts.tokens));
  onPasses?.(1 + Number(adapter !== undefined) + Number(rounds));
  let [predicted, seconds] = [0, 0];
  const on = {
    processes,
    ...(onTokens === undefined ? {} : { onTokens }),
    ...(signal === undefined ? {} : { signal }),
  };
  const measure = async () => {
    const begin = performance.now();
    const found = await perplexity(decoder, ids, on);
    predicted += found.tokens;
    seconds += (performance.now() - begin) / 1000;
    return found;
  };
  const { quantized } = decoder.weights;
  if (merged && quantized !== undefined) {
    const cause = `--merged: weights stay in ${quantized.dtype}, as they are stored, and the adapter is computed beside them`;
    throw new RandloraError("usage", cause, "merge (randlora merge), and measure the merged model");
  }
  // What cannot be added to quantized weights is refused before anything is measured.
  using beside =
    adapter === undefined || quantized === undefined
      ? undefined
      : await placeUnmerged(decoder, weights ?? folder, [adapter], { generator, signal });
  const ids = await texts.ids(decoder, on);
  const base = (adapter && known) ?? (await measure());
  const rest = async () => {
    const profile = (await gpu.profiler?.report()) ?? [];
    return { base, mergedDtypes, quantized, tokensPerSecond: predicted / seconds, profile };
  };
  if (adapter === undefined) return { notes: [], ...(await rest()) };
  await using adapting = await AdaptedWeights.open(decoder, weights ?? folder);
  if (beside !== undefined) {
    const { linears, notes } = beside;
    await adapting.apply([adapter], { generator, dtype: "f32", signal, beside: decoder.weights.projected });
    decoder.linears = linears;
    return { adapted: await measure(), notes, ...(await rest()) };
  }
  const notes = await adapting.apply([adapter], { generator, dtype: "f32", signal });
  const adapted = await measure();
  if (rounds) await adapting.apply([adapter], { generator, dtype: "keep", signal });
  const written = rounds ? await measure() : merged ? adapted : undefined;
  return { adapted, merged: written, notes, ...(await rest()) };
}

/** Tokens of a window that are not halved any more. */
const LEAST = 16;

/**
 * Refuses a window that `--memory` leaves no room for beside the weights, which are loaded.
 * @param tokens of the window
 * @throws RandloraError `memory`, with a window that fits
 */
async function refuseLargeWindow(decoder: Decoder, tokens: number): Promise<void> {
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
