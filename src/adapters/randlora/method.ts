import { roundToGrid } from "../../compute/random/grid.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { fromBigInt } from "../../files/lossless-json.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { groupExperts } from "../base/experts.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { lowRankFlops } from "../delta/low-rank/linears.ts";
import { countMagnitudes, magnitudeFlops, withMagnitude } from "../delta/magnitude/trainable.ts";
import { readMagnitudes } from "../delta/magnitude/vectors.ts";
import { type BilinearShape, fewestFlops } from "../delta/scaled-bases/shape.ts";
import { placeBilinear } from "../delta/scaled-bases/place.ts";
import { recordOf, sizesOf } from "../frozen/origin.ts";
import {
  contentWithPair,
  freshlyDrawn,
  type FrozenInTraining,
  openFrozen,
  parseBasesFrom,
} from "../frozen/training.ts";
import {
  matrixOf,
  newConfig,
  trainedContent,
  trainedModuleRows,
  untrainedAdapter,
  untrainedTensors,
} from "../method/train.ts";
import type {
  AdapterTraining,
  ConversionWish,
  ConvertedContent,
  MethodDefinition,
  ModuleShape,
  OpenInput,
} from "../method/method.ts";
import { openExisting, targetSettings } from "../method/fit.ts";
import type { Method, Placement, Trainable } from "../method/training.ts";
import type { AdapterSettings } from "../method/settings.ts";
import { type BasesRecord, firstRowOfA, RANDLORA_BASES } from "./bases.ts";
import {
  ALL_TYPES,
  DORA_TYPES,
  isRankR,
  pairingOf,
  PEFT_TYPES,
  RANDLORA_SETTINGS,
  randloraConfig,
  type RandloraSettings,
  resolveRandlora,
} from "./config.ts";
import {
  MAGNITUDE,
  pairingOfAdapter,
  planRandlora,
  RANDLORA_TENSORS,
  randloraAdapterPlan,
  type RandloraPlan,
  randloraShape,
  trainedNumbers,
} from "./plan.ts";
import { placeRankR } from "./rank-r.ts";
import { isShared } from "../files/tensors.ts";
import { convertFrozen } from "../frozen/convert.ts";

type Settings = AdapterSettings & RandloraSettings;

export const randloraTraining: AdapterTraining<RandloraSettings> = {
  result: "adapter",
  settings: RANDLORA_SETTINGS,
  usual: { rank: 32, alphaPerRank: 20, learningRate: 1e-4 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
    count(modules, rank, { variant, dora = false }) {
      const half = variant === "half-rank";
      const numbers = modules.reduce((sum, { out, in: input }) => sum + trainedNumbers(out, input, rank, half), 0);
      return numbers + (dora ? countMagnitudes(modules) : 0);
    },
    flops(modules, rank, { variant, dora = false }, tokens) {
      const shapeOf = ({ out, in: input }: ModuleShape) => randloraShape(out, input, rank, variant === "half-rank");
      const sums = ({ out, in: input }: ModuleShape) => 4 * shapeOf({ out, in: input }).terms * (out + input);
      const own =
        variant === "rank-r"
          ? lowRankFlops(modules, rank, tokens) + modules.reduce((sum, module) => sum + sums(module), 0)
          : modules.reduce((sum, module) => sum + fewestFlops(shapeOf(module), tokens), 0);
      const terms = (module: ModuleShape) => (variant === "rank-r" ? rank : shapeOf(module).terms);
      return own + (dora ? magnitudeFlops(modules, terms) : 0);
    },
  },
  resolve: resolveRandlora,
  initial(adapter, given) {
    const config = randloraConfig(adapter);
    const { r: rank, alpha, half, targets, key, sparsity, dora } = config;
    const record = recordOf(adapter, RANDLORA_BASES);
    return {
      rank,
      alpha,
      ...targetSettings(targets),
      variant: isRankR(adapter) ? "rank-r" : half ? "half-rank" : pairingOfAdapter(adapter, config, record),
      sparsity,
      basisSeed: String(key),
      generator: record?.generator ?? given.generator ?? null,
      dora,
    };
  },
  async open(input, settings, adapter) {
    const source =
      adapter === undefined
        ? await openNewRandlora(input, settings, findTargets(input.base, settings))
        : await openRandlora(input, settings, adapter);
    const trainable = trainableRandlora(source, settings, input.seed);
    if (!settings.dora) return trainable;
    const { layers } = source;
    return withMagnitude(trainable, layers, MAGNITUDE, adapter && (await readMagnitudes(adapter, layers, MAGNITUDE)));
  },
};

/** A RandLoRA adapter before it is trained: everything of it that no GPU is needed for. */
interface RandloraSource
  extends FrozenInTraining, Pick<RandloraPlan, "adapter" | "layers" | "scale" | "pairing" | "notes"> {
  /** RandLoRA-a alone: where the rows of Aⱼᵀ begin. */
  readonly firstRowOfA: number | undefined;
}

/** A new adapter on these modules. @throws RandloraError `adapter`; the signal's reason when it is aborted */
export async function openNewRandlora(
  { base, model, dtype: held, signal }: Pick<OpenInput, "base" | "model" | "dtype" | "signal">,
  settings: Settings,
  targets: Targets,
): Promise<RandloraSource> {
  const drawn = freshlyDrawn(settings, held, targets);
  const adapter = newRandlora(settings, targets, model, drawn.dtype);
  const plan = planRandlora(adapter, base, { drawn: { ...drawn, pairing: pairingOf(settings.variant) } });
  return await opened(plan, base, undefined, signal);
}

/**
 * An adapter that exists, to go on from (`--init-adapter`, or a resumed run's own): its bases, parameters, rank, alpha and
 * targets.
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than RandLoRA's
 *   parameters; the signal's reason when it is aborted
 */
async function openRandlora(
  { base, began, signal }: OpenInput,
  settings: RandloraSettings,
  adapter: Adapter,
): Promise<RandloraSource> {
  // Where the adapter says what drew its bases, the settings have it from there.
  const generator = adapter.bases === undefined ? (settings.generator ?? undefined) : undefined;
  const plan = await openExisting(planRandlora(adapter, base, { generator }));
  return await opened(plan, base, parseBasesFrom(began), signal);
}

async function opened(
  plan: RandloraPlan,
  base: BaseModel,
  from: FrozenInTraining["basesFrom"] | undefined,
  signal: AbortSignal | undefined,
): Promise<RandloraSource> {
  const { origin, pairing } = plan;
  const rankR = isRankR(plan.adapter);
  const frozen = await openFrozen(RANDLORA_BASES, plan, from, signal, (drawn): BasesRecord => {
    return { ...drawn, pairing, ...(rankR ? { rowsOfA: drawn.min } : {}) };
  });
  if (!rankR) return { ...plan, ...frozen, firstRowOfA: undefined };
  // Its factors are products of experts' rows together.
  const { groups, others } = groupExperts(plan.layers, base);
  const layers = [...others, ...groups.flatMap((group) => group.layers)];
  return { ...plan, ...frozen, layers, firstRowOfA: firstRowOfA(sizesOf(origin)) };
}

function newRandlora(settings: Settings, targets: Targets, model: string, grid: FloatGrid): Adapter {
  const { rank: r, alpha, sparsity, variant, dora, dropout } = settings;
  const config = newConfig(model, targets, {
    auto_mapping: null,
    bias: "none",
    init_weights: true,
    peft_type: (dora ? DORA_TYPES : PEFT_TYPES)[variant],
    projection_prng_key: fromBigInt(BigInt(settings.basisSeed)),
    r,
    randlora_alpha: alpha,
    randlora_dropout: dropout,
    revision: null,
    save_projection: true,
    sparse: sparsity === "sparse",
    very_sparse: sparsity === "very-sparse",
  });
  const sizes = { r, half: variant === "half-rank" };
  const tensors = untrainedTensors(RANDLORA_TENSORS, sizes, targets.modules, ({ out, in: input }) => ({
    gamma: () => initialGamma(randloraShape(out, input, r, sizes.half), grid),
  }));
  return untrainedAdapter(config, tensors);
}

/**
 * PEFT's start: λ = 0, so that ΔW = 0, and γ = 1/max(n, m) (tuners/randlora/layer.py), which PEFT casts to the base
 * weight's dtype and back, as it does with the bases.
 */
export function initialGamma({ bases, cols }: BilinearShape, grid: FloatGrid): Float32Array<ArrayBuffer> {
  return new Float32Array(bases * cols).fill(roundToGrid(1 / Math.max(bases, cols), grid));
}

/** RandLoRA (Albert et al., arXiv:2502.00987): λ and γ are trained, the bases are not. */
export function trainableRandlora(source: RandloraSource, settings: Settings, seed: number): Trainable {
  const { layers, notes } = source;
  return {
    parameters: layers.flatMap(({ tensors: { lambda, gamma } }) => [
      matrixOf(lambda),
      { ...matrixOf(gamma), rate: settings.gammaRate },
    ]),
    modules: trainedModuleRows(layers, ({ sizes: { bases, r, cols } }) => bases * (r + cols)),
    notes,
    place: (on) => place(on, source, settings, seed),
  };
}

async function place(on: Placement, source: RandloraSource, settings: Settings, seed: number): Promise<Method> {
  const { adapter, layers, record, firstRowOfA: firstA } = source;
  const placed =
    firstA === undefined
      ? await placeBilinear(on, source, settings, seed)
      : await placeRankR(on, source, firstA, { dropout: settings.dropout, seed });
  return {
    ...placed,
    content: () =>
      contentWithPair(source, settings.projections, (saved) => {
        const own = layers.flatMap(({ tensors: { lambda, gamma } }) => [lambda, gamma]);
        // PEFT redraws the bases, instead of missing them, where its configuration says that they are not in the file.
        const says = adapter.config["peft_type"] === PEFT_TYPES.peft ? { save_projection: saved } : {};
        return trainedContent(adapter, on.parameters, own, { randlora_dropout: settings.dropout, ...says }, record);
      }),
  };
}

/** RandLoRA (Albert et al., arXiv:2502.00987). */
export const randlora: MethodDefinition<RandloraSettings> = {
  name: "randlora",
  title: "RandLoRA",
  peftTypes: ALL_TYPES,
  ownTypes: ALL_TYPES.filter((type) => type !== PEFT_TYPES.peft),
  shared: RANDLORA_BASES.shared,
  // A copy for every layer, as PEFT writes them, would be many times as large as all that is trained.
  peftWarning: ({ tensors }) =>
    tensors.some(({ name }) => isShared(name, RANDLORA_BASES))
      ? "When it loads this folder, PEFT warns that `randlora_A.default` and `randlora_B.default` of every layer are missing. Nothing is: all layers share the one pair that is here."
      : undefined,
  check: randloraConfig,
  plan: (adapter, base, options) => randloraAdapterPlan(planRandlora(adapter, base, options)),
  convert: convertRandlora,
  training: randloraTraining,
};

/** @param inPeft whether PEFT has such adapters at all */
export async function convertRandlora(
  adapter: Adapter,
  wish: ConversionWish,
  inPeft = adapter.config["peft_type"] === PEFT_TYPES.peft,
): Promise<ConvertedContent> {
  const saysSaved = adapter.config["peft_type"] === PEFT_TYPES.peft;
  const config = randloraConfig(adapter);
  pairingOfAdapter(adapter, config, recordOf(adapter, RANDLORA_BASES));
  return await convertFrozen(RANDLORA_BASES, adapter, wish, { config, inPeft, saysSaved });
}
