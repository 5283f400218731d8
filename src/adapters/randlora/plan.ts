import type { Pairing } from "../../compute/device/pairing.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { withMagnitudes } from "../delta/magnitude/deltas.ts";
import { type MagnitudeName, moduleOfMagnitude } from "../delta/magnitude/vectors.ts";
import { bilinearDeltas, type BilinearLayer } from "../delta/scaled-bases/delta.ts";
import { type BilinearShape, bilinearShape } from "../delta/scaled-bases/shape.ts";
import { isShared } from "../files/tensors.ts";
import { fitAdapter, type TrainedTensors } from "../method/fit.ts";
import { basesCount, type BasesExtent } from "../frozen/drawing/bases.ts";
import { checkExtent } from "../frozen/drawing/draw.ts";
import { chooseFrozen, type FrozenChoice, loadFrozen, sizesOf } from "../frozen/origin.ts";
import type { AdapterPlan, PlanOptions } from "../method/plan.ts";
import { type BasesRecord, type BasesSizes, firstRowOfA, RANDLORA_BASES, STACKED_BASES } from "./bases.ts";
import { isRankR, type RandloraConfig, randloraConfig } from "./config.ts";
import { rankRDeltas } from "./rank-r.ts";

/**
 * How many bases of rank r a module uses whose shorter side is m: n = ⌈m/r⌉, all that span it (PEFT,
 * tuners/randlora/layer.py), or with `half` ⌈m/2r⌉ (arXiv:2502.00987, table 3, RandLoRA-b). They are the first ones.
 */
export function moduleBases(m: number, r: number, half: boolean): number {
  return basesCount(m, half ? 2 * r : r);
}

/**
 * The sizes of a module whose ΔW is (out, in), with bases of rank r: B̂ (M, n·r) along its longer side, A (r, m) and γ
 * (n, m) along the shorter one.
 * @param half see {@link moduleBases}
 */
export function randloraShape(out: number, input: number, r: number, half = false): BilinearShape {
  const bases = moduleBases(Math.min(out, input), r, half);
  return bilinearShape({ out, in: input, r, bases, tall: out >= input });
}

/** Numbers in λ (r, n) and γ (n, m) of a module. */
export function trainedNumbers(out: number, input: number, r: number, half = false): number {
  const { bases, cols } = randloraShape(out, input, r, half);
  return bases * (r + cols);
}

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

/** Everything that applying a RandLoRA adapter to a base takes, checked; no tensor has been read yet. */
export interface RandloraPlan extends AdapterPlan, FrozenChoice<BasesSizes, BasesRecord> {
  readonly config: RandloraConfig;
  /** alpha / r; ΔW is multiplied by it. */
  readonly scale: number;
  readonly pairing: Pairing;
  readonly layers: readonly BilinearLayer[];
  /** How far the layers need the bases: the largest M, n and m. */
  readonly extent: BasesExtent;
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
  const layers = fit.layers.map((layer): BilinearLayer => {
    return { ...layer, sizes: randloraShape(layer.out, layer.in, config.r, config.half) };
  });
  const question = { adapter, config, base, shift, layers };
  const rankR = isRankR(adapter);
  const choice = chooseFrozen(rankR ? STACKED_BASES : RANDLORA_BASES, question, options);
  const { origin, record } = choice;
  const plain = {
    rows: Math.max(...layers.map(({ sizes }) => sizes.rows)),
    bases: Math.max(...layers.map(({ sizes }) => sizes.bases)),
    cols: Math.max(...layers.map(({ sizes }) => sizes.cols)),
  };
  const drawn = sizesOf(origin);
  const { max, min } = drawn;
  if (rankR) checkStacked(adapter, drawn, layers, origin.kind === "saved" || (record ?? options.drawn) !== undefined);
  for (const { sizes, module } of layers) {
    checkExtent(sizes, config.r, max, min, `${oneLine(adapter.file)}: ${quote(module)}`);
  }
  const extent = rankR ? { ...plain, rows: firstRowOfA(drawn) + plain.cols } : plain;
  const scale = config.alpha / config.r;
  const product = { adapter, layers, scale, pairing: pairingOfAdapter(adapter, config, record ?? options.drawn) };
  return {
    ...fit,
    ...choice,
    ...product,
    extent,
    // PEFT's randlora/layer.py, merge: ΔW is cast to the weight's dtype.
    roundsDelta: true,
    async load(signal) {
      const loaded = await loadFrozen(RANDLORA_BASES, adapter.file, origin, config, extent, { signal });
      return rankR ? rankRDeltas(product, loaded, firstRowOfA(drawn)) : bilinearDeltas(product, loaded);
    },
  };
}

/**
 * The pairing that the adapter's `peft_type` means, which what is recorded of the bases must confirm.
 * Throws `RandloraError` "adapter" where they differ, or neither says.
 */
export function pairingOfAdapter(
  { config, file }: Adapter,
  { pairing: meant }: RandloraConfig,
  record: { readonly pairing?: Pairing | undefined } | undefined,
): Pairing {
  const type = config["peft_type"];
  // The one that rank-r would have is nowhere used, and files record either.
  const recorded = isRankR({ config }) ? undefined : record?.pairing;
  const pairing = meant ?? recorded;
  const refuse = (cause: string, hint: string) => new RandloraError("adapter", `${oneLine(file)}: ${cause}`, hint);
  if (pairing === undefined) {
    const cause = `peft_type ${quote(String(type))} has either pairing of bases, and the file does not record which`;
    throw refuse(cause, "its safetensors metadata were lost (randlora_bases): take the original file");
  }
  if (recorded !== undefined && recorded !== pairing) {
    const cause = `its peft_type ${quote(String(type))} means the pairing "${pairing}", but its bases are recorded with "${recorded}"`;
    throw refuse(cause, "one of the two was changed: take the original files");
  }
  return pairing;
}

/** Rows of Bⱼ at most: all of them are held, since those of Aⱼᵀ follow; the largest vocabularies are a quarter of that. */
const MOST_ROWS = 2 ** 20;

/**
 * Refuses what does not say how its bases were drawn, a Bⱼ larger than any model needs, and layers with more rows than it
 * has. Throws `RandloraError` "adapter".
 */
function checkStacked(
  adapter: Adapter,
  drawn: BasesSizes,
  layers: readonly { readonly module: string; readonly sizes: { readonly rows: number } }[],
  known: boolean,
): void {
  const refuse = (cause: string, hint: string) =>
    new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  if (!known) throw refuse("it neither holds nor records its bases", "the file is incomplete: take the original");
  const most = firstRowOfA(drawn);
  if (most > MOST_ROWS) {
    throw refuse(
      `its bases are for matrices of ${most} rows, more than any model has`,
      "its recorded shape is damaged",
    );
  }
  const layer = layers.find(({ sizes }) => sizes.rows > most);
  if (layer === undefined) return;
  const cause = `${quote(layer.module)} has ${layer.sizes.rows} rows, more than the ${most} of its bases`;
  throw refuse(cause, "the adapter belongs to another model, or its recorded shape is wrong");
}

/** With its magnitudes, where it has any. @throws RandloraError `format`, `adapter` where they do not fit the layers */
export function randloraAdapterPlan(plan: RandloraPlan): AdapterPlan {
  return plan.config.dora ? withMagnitudes(plan, MAGNITUDE) : plan;
}
