import type { KvDtype } from "../../compute/device/dtype.ts";
import type { WeightOptions } from "../weight-format.ts";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { readMatrices } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";
import { recordForward, recordLogits } from "./forward.ts";
import { KvCache } from "./cache/slot-pool.ts";
import { type Linears, PLAIN_LINEARS } from "../blocks/linears.ts";
import { fitsKeys } from "../blocks/rope.ts";
import { mostPositions } from "./positions.ts";
import { checkKvDtype, PROMPT_BLOCK } from "./cache/layer-cache.ts";
import { DecoderWeights, refuseLargeWeights } from "./weights.ts";
import { storedDecoder } from "./weight-plan.ts";

/** How a decoder is loaded. */
export interface LoadOptions extends Pick<WeightOptions, "dtype" | "quantize"> {
  /** What keys and values are held in; F32 by default. */
  readonly kvDtype?: KvDtype | undefined;
  /** Told the bytes of the checkpoint as they are read; `total` beforehand. */
  readonly onProgress?: (read: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** How a prompt is taken. */
export interface PrefillOptions {
  /** Tokens of one pass. */
  readonly block?: number;
  /** Tokens of the whole sequence, where more of it is to come: RoPE that depends on the length goes by it. */
  readonly sequenceLength?: number;
  readonly signal?: AbortSignal;
}

/** A language model on the GPU: config, weights, and passes over tokens. */
export class Decoder {
  readonly gpu: Device;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  /** What keys and values are held in. */
  readonly kvDtype: KvDtype;
  /** How projections are computed. What a cache holds of other ones must be forgotten when it is changed. */
  linears: Linears = PLAIN_LINEARS;
  readonly #run: Run;

  private constructor(gpu: Device, config: DecoderConfig, weights: DecoderWeights, kvDtype: KvDtype) {
    this.gpu = gpu;
    this.kvDtype = kvDtype;
    this.config = config;
    this.weights = weights;
    this.#run = new Run(gpu);
  }

  /**
   * Reads the weights of an open checkpoint (`loadDecoder`: of a folder) while kernels are compiled.
   * @throws RandloraError `file`, `format`, `model` (not supported, weights missing or left over), `memory`, `gpu`
   */
  static async load(
    gpu: Device,
    checkpoint: Checkpoint,
    stored: DecoderConfig,
    options: LoadOptions = {},
  ): Promise<Decoder> {
    const { onProgress, signal, dtype, quantize, kvDtype = "F32" } = options;
    const config = storedDecoder(stored, checkpoint.tensors);
    checkKvDtype(config, kvDtype);
    refuseLargeWeights(gpu, checkpoint, config, { dtype, quantize });
    const weights = DecoderWeights.allocate(gpu, checkpoint, config, { dtype, quantize });
    const decoder = new Decoder(gpu, config, weights, kvDtype);
    try {
      // Before anything is under way: what it throws takes nothing along.
      onProgress?.(0, checkpoint.bytes);
      const compiled = decoder.#rehearse();
      let read = 0;
      const filled = decoder.weights.fill((bytes) => onProgress?.((read += bytes), checkpoint.bytes), signal);
      // Both have ended before anything is given back: what fails in one knows nothing of the other.
      for (const half of await Promise.allSettled([filled, compiled]))
        if (half.status === "rejected") throw half.reason;
    } catch (thrown) {
      decoder.release();
      throw thrown;
    }
    return decoder;
  }

  /** The same on a device that computes nothing: what is done with it leaves in its memory what that takes here, without weights. */
  counting(): Decoder {
    const counting = new Decoder(this.gpu.counting(), this.config, this.weights, this.kvDtype);
    counting.linears = this.linears;
    return counting;
  }

  /** An empty cache; the caller releases it. */
  createCache(): KvCache {
    return new KvCache(this.gpu, this.config, this.kvDtype);
  }

  /**
   * Negative log-likelihood of each next token: tokens.length − 1 numbers, in nats. The cache must be empty, or hold
   * what comes before.
   * @throws as `passes`
   */
  async nll(cache: KvCache, ids: readonly number[], options: PrefillOptions = {}): Promise<Float64Array> {
    const parts: Tensor[] = [];
    const { head, headBias: bias } = this.weights;
    try {
      await this.passes(cache, ids, options, (run, hidden, first) => {
        const count = Math.min(hidden.shape[0], ids.length - 1 - first);
        if (count === 0) return;
        const targets = run.upload("targets", [1, count], Uint32Array.from(ids.slice(first + 1, first + 1 + count)));
        const x = sliceRows(hidden, 0, count);
        const { y } = run.apply(OPS.nll, { x, weight: head, bias, targets }, { softcap: this.config.logitSoftcap });
        parts.push(run.keep(y));
      });
      const read = await readMatrices(this.gpu, parts);
      return Float64Array.from(read.flatMap(({ buffer }) => [...new Float32Array(buffer)]));
    } finally {
      for (const { buffer } of parts) this.gpu.memory.release(buffer);
    }
  }

  /** @throws RandloraError `model` for an id beyond the vocabulary */
  checkIds(ids: readonly number[]): void {
    const { vocabularySize } = this.config;
    const foreign = ids.find((id) => !(id >= 0 && id < vocabularySize));
    if (foreign === undefined) return;
    const message = `token ${foreign} is beyond the model's vocabulary of ${vocabularySize}`;
    throw new RandloraError("model", message, "tokenizer and weights belong to different models");
  }

  /** Gives the weights' memory back. */
  release(): void {
    this.#run[Symbol.dispose]();
    this.weights.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /**
   * Runs tokens through the model, a pass a block; they join the cache. RoPE that depends on the length goes by the length of the cache with all
   * of them; what the cache holds is computed anew where its keys do not fit (see `fitsKeys`).
   * @param use records what is made of a pass's hidden states, (tokens, hidden), given the index of its first token
   * @throws RandloraError `model` for an id beyond the vocabulary; the signal's reason when it is aborted
   */
  async passes(
    cache: KvCache,
    ids: readonly number[],
    options: PrefillOptions,
    use: (run: Run, hidden: Tensor, first: number) => void,
  ): Promise<void> {
    const { ropes } = this.config;
    this.checkIds(ids);
    const { sequenceLength = cache.length + ids.length } = options;
    await cache.reserve(cache.length + ids.length);
    if (cache.length > 0 && !ropes.every((rope) => fitsKeys(rope, cache.slot.longest, sequenceLength))) {
      const past = [...cache.slot.ids];
      cache.slot.truncate(0);
      await this.#blocks(cache, past, sequenceLength, options, () => {});
    }
    await this.#blocks(cache, ids, sequenceLength, options, use);
  }

  async #blocks(
    cache: KvCache,
    ids: readonly number[],
    sequenceLength: number,
    { block = PROMPT_BLOCK, signal }: PrefillOptions,
    use: (run: Run, hidden: Tensor, first: number) => void,
  ): Promise<void> {
    const run = this.#run;
    for (let first = 0; first < ids.length; first += block) {
      signal?.throwIfAborted();
      const some = ids.slice(first, first + block);
      const { length } = cache;
      try {
        await cache.reserve(length + some.length);
        const hidden = recordForward(run, this.config, this.weights, this.linears, cache.slot, some, sequenceLength);
        use(run, hidden, first);
        await run.submit();
      } catch (thrown) {
        // What was recorded must not run with the next pass, whose memory may be another; nor was the cache filled.
        run.discard();
        cache.slot.failed(length);
        throw thrown;
      }
    }
  }

  /** Compiles the kernels of a prefill and of a step, computing nothing of use. */
  async #rehearse(): Promise<void> {
    using run = new Run(this.gpu);
    using long = this.createCache();
    using short = this.createCache();
    for (const [cache, tokens] of [
      [long, Math.min(64, mostPositions(this.config))],
      [short, 1],
    ] as const) {
      const ids = Array.from({ length: tokens }, () => 0);
      await cache.reserve(tokens);
      const hidden = recordForward(run, this.config, this.weights, this.linears, cache.slot, ids, tokens);
      const logits = recordLogits(run, this.config, this.weights, sliceRows(hidden, 0, 1));
      run.apply(OPS.topK, { x: logits }, { k: 1 });
    }
    await run.rehearse();
  }
}
