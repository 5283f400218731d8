import { oneLine, quote } from "../../files/failure.ts";
import type { BaseModel } from "../base/base.ts";
import type { PlanOptions } from "../plan.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";
import { type Fit, fitAdapter, type FittedLayer, type TrainedTensors } from "../fit.ts";
import type { Adapter } from "../adapter.ts";
import { chooseFrozen, type FrozenOrigin, sizesOf } from "../frozen/origin.ts";
import { isShared } from "../files/shared-tensors.ts";
import { checkExtent } from "../frozen/drawing/draw.ts";
import type { BasesExtent } from "../frozen/drawing/bases.ts";
import { type RandloraConfig, randloraConfig } from "./config.ts";
import type { Pairing } from "../../compute/device/pairing.ts";
import { type BasesRecord, type BasesSizes, RANDLORA_BASES } from "./bases.ts";
import { type MagnitudeName, moduleOfMagnitude } from "../delta/magnitude/vectors.ts";
import { checkStacked, isRankR, STACKED_BASES, stackedExtent } from "./rank-r/stacked.ts";
import { randloraShape } from "./shape.ts";

/** What RandLoRA trains of a module: λ and γ. */
export const RANDLORA_TENSORS: TrainedTensors<Pick<RandloraConfig, "r" | "half">, "lambda" | "gamma"> = {
  names: { lambda: "randlora_lambda", gamma: "randlora_gamma" },
  shapes({ r, half }, { out, in: input }) {
    const { bases, cols } = randloraShape(out, input, r, half);
    return { lambda: [r, bases], gamma: [bases, cols] };
  },
  meaning: "λ is (r, n) and γ (n, m), m the shorter side of W",
};

/** What a magnitude adds to a module. */
export const MAGNITUDE: MagnitudeName = "randlora_magnitude_vector";

/** One adapted weight, and how its ΔW is oriented. */
export interface RandloraLayer extends FittedLayer<"lambda" | "gamma"> {
  readonly sizes: BilinearShape;
}

/** Everything that applying a RandLoRA adapter to a base takes, checked; no tensor has been read yet. */
export interface RandloraPlan extends Fit<RandloraConfig, "lambda" | "gamma"> {
  /** alpha / r; ΔW is multiplied by it. */
  readonly scale: number;
  readonly pairing: Pairing;
  readonly layers: readonly RandloraLayer[];
  /** Where the bases come from; `loadFrozen` brings them. */
  readonly bases: FrozenOrigin<BasesSizes, BasesRecord>;
  /** What the file records of them. */
  readonly record: BasesRecord | undefined;
  /** How far the layers need them: the largest M, n and m. */
  readonly extent: BasesExtent;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/**
 * Fits an adapter to a base: finds each adapted weight, checks every shape, decides where the bases come from.
 * Throws `RandloraError` "adapter" with the reason when it cannot be applied: module missing, shape different, bases that
 * nothing says how to draw, quantized base.
 */
export function planRandlora(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): RandloraPlan {
  const config = randloraConfig(adapter);
  const isOwn = (name: string) =>
    isShared(name, RANDLORA_BASES) || (config.dora && moduleOfMagnitude(name, MAGNITUDE) !== undefined);
  const fit = fitAdapter(adapter, base, config, RANDLORA_TENSORS, { isOwn });
  const { shift } = fit;
  const layers = fit.layers.map((layer): RandloraLayer => {
    return { ...layer, sizes: randloraShape(layer.out, layer.in, config.r, config.half) };
  });
  const question = { adapter, config, base, shift, layers };
  const rankR = isRankR(adapter);
  const { bases, record, notes } = chooseFrozen(rankR ? STACKED_BASES : RANDLORA_BASES, question, options);
  const plain = {
    rows: Math.max(...layers.map(({ sizes }) => sizes.rows)),
    bases: Math.max(...layers.map(({ sizes }) => sizes.bases)),
    cols: Math.max(...layers.map(({ sizes }) => sizes.cols)),
  };
  const drawn = sizesOf(bases);
  const { max, min } = drawn;
  if (rankR) checkStacked(adapter, drawn, layers, bases.kind === "saved" || (record ?? options.drawn) !== undefined);
  for (const { sizes, module } of layers) {
    checkExtent(sizes, config.r, max, min, `${oneLine(adapter.file)}: ${quote(module)}`);
  }
  return {
    ...fit,
    scale: config.alpha / config.r,
    pairing: record?.pairing ?? "peft",
    layers,
    bases,
    record,
    extent: rankR ? stackedExtent(drawn, plain) : plain,
    notes,
  };
}
