import { RandloraError } from "../../files/errors.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { outputsOf } from "../blocks/block.ts";
import { recordNorm } from "../blocks/norm.ts";
import type { Linears } from "../blocks/linears.ts";
import type { PlacedWeights } from "../placed-weights.ts";
import { type EncoderWeights, placeEncoder, recordEncoder } from "./encoder.ts";
import {
  type Grid,
  gridOf,
  type Images,
  interpolationFactors,
  type Size,
  squareSide,
  unfoldPatches,
} from "./patches.ts";
import { type Placed, tensorsIn } from "../description.ts";
import { planEmbedding, type PlannedVision, type VisionConfig } from "./vision-plan.ts";

/** A vision transformer in GPU memory, for images of one size. */
export class VisionTower {
  readonly config: VisionConfig;
  readonly grid: Grid;
  /** Of the images. */
  readonly size: Size;
  readonly #weights: Placed<PlannedVision>;
  readonly #layers: EncoderWeights;
  /** What positions for another grid than the checkpoint's are sums of; undefined: its own serve. */
  readonly #interpolation: Tensor | undefined;

  /**
   * Takes memory; the placed weights' `fill` gives it content.
   * @throws RandloraError `model` where images of this size have no positions, `memory`
   */
  constructor(placed: PlacedWeights, config: VisionConfig, size: Size) {
    this.config = config;
    this.size = size;
    this.grid = gridOf(size, config.patch);
    this.#weights = placed.placeAll(planEmbedding(config));
    this.#layers = placeEncoder(placed, config.encoder);
    const isOther = this.#needsInterpolation();
    const positions = this.#weights.positions.shape[0] - 1;
    if (isOther && squareSide(positions) ** 2 !== positions) {
      const cause = `${positions} positions make no square: they cannot be interpolated for images of ${size.join("×")}`;
      throw new RandloraError("model", cause, `give images of ${config.image.join("×")} pixels`);
    }
    this.#interpolation = isOther
      ? placed.placeValues(
          "interpolation",
          [this.tokens, 1 + positions],
          interpolationFactors(1 + positions, this.grid),
        )
      : undefined;
  }

  /** Tokens of an image: its patches, and the class token. */
  get tokens(): number {
    const [rows, cols] = this.grid;
    return 1 + rows * cols;
  }

  /** Columns of what {@link recordFeatures} returns. */
  get features(): number {
    return this.config.features.length * this.config.encoder.width;
  }

  /** Every matrix and vector, in an order that follows from the config alone. */
  get matrices(): Tensor[] {
    return tensorsIn([this.#weights, this.#layers]);
  }

  /** The matrices that end each layer's attention and its MLP, two a layer. */
  get outputs(): Tensor[] {
    return outputsOf(this.#layers.flat());
  }

  /**
   * Records the pass over images of the tower's size. The caller releases the result.
   * @returns transformers' last_hidden_state, (images · tokens, width)
   * @throws RangeError for images of another size
   */
  recordHidden(recorder: Recorder, linears: Linears, images: Images, checkpointing: boolean): Tensor {
    const { encoder, names } = this.config;
    const { count } = images;
    const [first, last] = [this.#upload(recorder, count, "first"), this.#upload(recorder, count, "last")];
    let x = this.#recordEmbedding(recorder, images);
    const { firstNorm, firstNormBias } = this.#weights;
    if (firstNorm !== undefined) {
      const { epsilon } = encoder;
      const normed = recordNorm(recorder, { kind: "layer", weight: firstNorm, bias: firstNormBias, epsilon }, x);
      recorder.release(x);
      x = normed;
    }
    const pass = { linears, first, last, checkpointing };
    const hidden = recordEncoder(recorder, this.#layers, pass, x);
    recorder.release(first, last);
    return names.lastNormOf === "all" ? this.#recordLastNorm(recorder, hidden) : hidden;
  }

  /** Records the normed class tokens, transformers' pooler_output: (images, width). Releases nothing. */
  recordClassTokens(recorder: Recorder, hidden: Tensor): Tensor {
    const count = hidden.shape[0] / this.tokens;
    const indices = recorder.upload(
      "class tokens",
      [1, count],
      Uint32Array.from({ length: count }, (_, i) => i * this.tokens),
    );
    const { y } = recorder.apply(OPS.rows, { x: hidden, indices }, {});
    recorder.release(indices);
    return this.config.names.lastNormOf === "all" ? y : this.#recordLastNorm(recorder, y);
  }

  /** Records what transformers' own classifier reads of hidden states: (images, `features`). Releases nothing. */
  recordFeatures(recorder: Recorder, hidden: Tensor): Tensor {
    const { features, encoder } = this.config;
    const { tokens } = this;
    const count = hidden.shape[0] / tokens;
    const kinds = features.length;
    const values = features.flatMap((feature) =>
      Array.from({ length: tokens }, (_, token) =>
        feature === "class token" ? Number(token === 0) : token === 0 ? 0 : 1 / (tokens - 1),
      ),
    );
    const factors = recorder.upload("factors", [kinds, tokens], Float32Array.from(values));
    const all = recorder.allocate("features", [count * kinds, encoder.width]);
    for (let image = 0; image < count; image++) {
      const x = sliceRows(hidden, image * tokens, tokens);
      recorder.apply(OPS.combineRows, { factors, x }, {}, { y: sliceRows(all, image * kinds, kinds) });
    }
    recorder.release(factors);
    return kinds === 1 ? all : besideOneAnother(recorder, all, kinds);
  }

  /** As transformers decides it: by the number of patches, and whether the image is a square. */
  #needsInterpolation(): boolean {
    const [height, width] = this.size;
    const trained = this.#weights.positions.shape[0];
    return trained !== this.tokens || height !== width;
  }

  /** The embeddings of the grid's positions, (tokens, width). Only interpolated ones are to be released. */
  #recordPositions(recorder: Recorder): Tensor {
    const { positions } = this.#weights;
    const factors = this.#interpolation;
    return factors === undefined ? positions : recorder.apply(OPS.combineRows, { factors, x: positions }, {}).y;
  }

  /** Patches, class tokens and positions: (images · tokens, width). */
  #recordEmbedding(recorder: Recorder, images: Images): Tensor {
    const { patch } = this.config;
    const { classToken, patchBias, patches } = this.#weights;
    const { count, size } = images;
    if (size[0] !== this.size[0] || size[1] !== this.size[1])
      throw new RangeError(`images of ${size.join("×")} pixels`);
    const rows = count * this.tokens;
    const places = Uint32Array.from({ length: rows }, (_, row) => row % this.tokens);
    const ids = recorder.upload("positions", [1, rows], places);
    const table = this.#recordPositions(recorder);
    let { y: sum } = recorder.apply(OPS.embedding, { ids, table }, { scale: 1 });
    recorder.release(ids, ...(table === this.#weights.positions ? [] : [table]));
    const addTo = (x: Tensor, weight: Tensor) => {
      const { y } = recorder.apply(OPS.linear, { x, weight, bias: undefined, residual: sum }, {});
      recorder.release(x, sum);
      sum = y;
    };
    const column = (isThere: (token: number) => boolean) =>
      recorder.upload(
        "column",
        [rows, 1],
        Float32Array.from(places, (token) => Number(isThere(token))),
      );
    addTo(
      column((token) => token === 0),
      classToken,
    );
    if (patchBias !== undefined)
      addTo(
        column((token) => token > 0),
        patchBias,
      );
    addTo(recorder.upload("patches", [rows, patches.shape[1]], unfoldPatches(images, patch)), patches);
    return sum;
  }

  /** Each token sees those of its own image. */
  #upload(recorder: Recorder, count: number, what: "first" | "last"): Tensor {
    const { tokens } = this;
    const seen = Uint32Array.from({ length: count * tokens }, (_, row) => {
      const first = row - (row % tokens);
      return what === "first" ? first : first + tokens - 1;
    });
    return recorder.upload(what, [1, seen.length], seen);
  }

  #recordLastNorm(recorder: Recorder, x: Tensor): Tensor {
    const { lastNorm: weight, lastNormBias: bias } = this.#weights;
    const normed = recordNorm(recorder, { kind: "layer", weight, bias, epsilon: this.config.encoder.epsilon }, x);
    recorder.release(x);
    return normed;
  }
}

/** Rows (images · kinds, width) as (images, kinds · width); the former are released. */
function besideOneAnother(recorder: Recorder, all: Tensor, kinds: number): Tensor {
  const [rows, width] = all.shape;
  const count = rows / kinds;
  const features = recorder.allocate("features", [count, kinds * width]);
  for (let kind = 0; kind < kinds; kind++) {
    const places = Uint32Array.from({ length: count }, (_, image) => image * kinds + kind);
    const indices = recorder.upload("kind", [1, count], places);
    recorder.apply(OPS.rows, { x: all, indices }, {}, { y: sliceCols(features, kind * width, width) });
    recorder.release(indices);
  }
  recorder.release(all);
  return features;
}
