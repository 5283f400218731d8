import type { Device } from "../device/device.ts";
import { ELEMENTWISE } from "../device/families/elementwise.ts";
import type { Decoder } from "../models/decoder.ts";
import { PLAIN_LINEARS } from "../models/linears.ts";
import { recordTraining } from "../models/training.ts";
import type { DecoderWeights } from "../models/weights.ts";
import { recordElementwise } from "../tensor/elementwise.ts";
import { OPS } from "../tensor/ops/index.ts";
import { readRows } from "../tensor/read-rows.ts";
import { Run } from "../tensor/run.ts";
import { type Tensor, tensorBytes, tensorIn } from "../tensor/tensor.ts";
import type { DataSet } from "../text/data/types.ts";
import { type SamplePass, samplePasses } from "./samples.ts";
import type { Variant, Variants, VariantsPlan } from "./variants.ts";

/** Shares of the three corners in a point's weights; their sum is 1. */
export type Shares = readonly [a: number, b: number, c: number];

/** The three corners in the plane's coordinates, as the authors' loss_barrier.py has them. */
export const CORNERS = [
  [0, 0],
  [0.5, 1],
  [1, 0],
] as const;

/** The shares at a place of the plane. */
export function sharesAt(x: number, y: number): Shares {
  return [1 - x - y / 2, y, x - y / 2];
}

/** Places along one axis: from + i · (to − from) / count, the end left out, as numpy's arange. */
export function placesOf([from, to]: readonly [number, number], count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + (i * (to - from)) / count);
}

/** Must every matrix be held in F32? A model changes all; an untied head is mixed with embeddings. */
export function needsAllInF32({ variants, unties }: VariantsPlan): boolean {
  return unties || variants.some(({ kind }) => kind === "model");
}

export interface LossOptions {
  /** Told the tokens of each pass. */
  readonly onTokens?: (tokens: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The mean loss of a model whose weights lie in the plane of three variants: W0 + aΔA + bΔB + cΔC. Because a + b + c is 1
 * that is aW_A + bW_B + cW_C, so what the corners have different is held three times in F32, and a point needs nothing
 * of the base.
 */
export class LossPlane implements Disposable {
  readonly #gpu: Device;
  readonly #decoder: Decoder;
  readonly #corners: Corners;
  readonly #passes: readonly SamplePass[];
  readonly #run: Run;

  private constructor(decoder: Decoder, corners: Corners, data: DataSet) {
    this.#gpu = decoder.gpu;
    this.#decoder = decoder;
    this.#corners = corners;
    this.#passes = samplePasses(data, decoder.config);
    this.#run = new Run(decoder.gpu);
  }

  /**
   * Keeps the weights of the three corners. `model` is this plane's until it is disposed of.
   * @throws RandloraError as `Variants.with`; `memory`
   */
  static async load(
    model: Variants,
    plan: VariantsPlan,
    variants: readonly [Variant, Variant, Variant],
    data: DataSet,
  ): Promise<LossPlane> {
    const { decoder } = model;
    const corners = new Corners(decoder, plan);
    try {
      for (const variant of variants) await model.with(variant, ({ weights }) => corners.add(weights));
      corners.aim();
      return new LossPlane(decoder, corners, data);
    } catch (thrown) {
      corners.release();
      throw thrown;
    }
  }

  /**
   * The mean negative log-likelihood of all supervised tokens at a point, in nats; may overflow far from the corners.
   * @throws RandloraError `gpu`, `memory`; the signal's reason when it is aborted
   */
  async loss(shares: Shares, { onTokens, signal }: LossOptions = {}): Promise<number> {
    const { config, weights } = this.#decoder;
    const run = this.#run;
    this.#corners.mix(run, shares);
    const losses: { readonly nll: Tensor; readonly terms: number }[] = [];
    try {
      // All passes are sent before the first is read, so that the device does not wait for us.
      for (const { batch } of this.#passes) {
        signal?.throwIfAborted();
        const nll = run.keep(recordTraining(run, config, weights, PLAIN_LINEARS, batch));
        losses.push({ nll, terms: batch.targets.length });
        await run.submit();
      }
      let sum = 0;
      let count = 0;
      for (const [at, { nll, terms }] of losses.entries()) {
        for (const value of await readRows(this.#gpu, nll, 0, terms)) sum += value;
        count += terms;
        onTokens?.(this.#passes[at]?.batch.ids.length ?? 0);
      }
      return sum / count;
    } finally {
      for (const { nll } of losses) this.#gpu.memory.release(nll.buffer);
    }
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#corners.release();
  }
}

/** The matrices of three variants that are not the same in all, and the decoder's in which they are mixed. */
class Corners {
  readonly #decoder: Decoder;
  readonly #plan: VariantsPlan;
  /** By corner, by number of a matrix. */
  readonly #kept: (readonly (Tensor | undefined)[])[] = [];
  readonly #owned: Tensor[] = [];

  constructor(decoder: Decoder, plan: VariantsPlan) {
    this.#decoder = decoder;
    this.#plan = plan;
  }

  /** Copies what a variant may have different. */
  async add(weights: DecoderWeights): Promise<void> {
    const { gpu } = this.#decoder;
    const changed = this.#changed();
    const copies = new Map<Tensor, Tensor>();
    using run = new Run(gpu);
    const kept = matricesOf(weights).map((matrix, at) => {
      if (!changed[at]) return undefined;
      const known = copies.get(matrix);
      if (known !== undefined) return known;
      const { shape } = matrix;
      const copy = tensorIn(gpu.memory.allocate("corner", tensorBytes(shape, "F32")), shape, "F32");
      this.#owned.push(copy);
      copies.set(matrix, copy);
      recordElementwise(run, ELEMENTWISE.copy, matrix, undefined, copy);
      return copy;
    });
    await run.submit();
    this.#kept.push(kept);
  }

  /** Gives the decoder an output matrix of its own where a corner has one, so that all can be mixed in it. */
  aim(): void {
    const { weights, config } = this.#decoder;
    weights.tie();
    if (config.tied && this.#kept.some(([embedding, head]) => embedding !== head)) weights.untie("F32");
  }

  /** Records a·A + b·B + c·C into the decoder's weights. */
  mix(run: Run, shares: Shares): void {
    const done = new Set<Tensor>();
    for (const [at, y] of matricesOf(this.#decoder.weights).entries()) {
      const [a, b, c] = this.#kept.map((corner) => corner[at]);
      if (a === undefined || b === undefined || c === undefined || done.has(y)) continue;
      done.add(y);
      const cols = y.shape[1];
      const [ofA, ofB, ofC] = shares.map((share) => run.upload("share", [1, cols], new Float32Array(cols).fill(share)));
      if (ofA === undefined || ofB === undefined || ofC === undefined) continue;
      const first = run.apply(OPS.scaleColumns, { x: a, scale: ofA, bias: undefined, residual: undefined }, {}).y;
      const second = run.apply(OPS.scaleColumns, { x: b, scale: ofB, bias: undefined, residual: first }, {}).y;
      run.release(first);
      run.apply(OPS.scaleColumns, { x: c, scale: ofC, bias: undefined, residual: second }, {}, { y });
      run.release(second, ofA, ofB, ofC);
    }
  }

  release(): void {
    for (const { buffer } of this.#owned.splice(0)) this.#decoder.gpu.memory.release(buffer);
  }

  /** By number of a matrix: may variants differ in it? */
  #changed(): boolean[] {
    const { weights } = this.#decoder;
    const all = needsAllInF32(this.#plan);
    const buffers = new Set([...this.#plan.changed].map((name) => weights.tensors.get(name)?.buffer));
    return matricesOf(weights).map(({ buffer }) => all || buffers.has(buffer));
  }
}

/** All matrices in one order, the embedding and the output matrix first, be they one or two. */
function matricesOf({ embedding, head, norm, layers }: DecoderWeights): Tensor[] {
  const ofLayers = layers.flatMap((layer) => Object.values<Tensor | undefined>(layer));
  return [embedding, head, norm, ...ofLayers.filter((matrix) => matrix !== undefined)];
}
