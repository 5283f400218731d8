import * as v from "valibot";
import { roundToGrid } from "../../compute/random/grid.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { RandloraError } from "../../files/errors.ts";
import { fromBigInt } from "../../files/lossless-json.ts";
import type { Adapter } from "../files/adapter.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { fewestFlops } from "../delta/scaled-bases/shape.ts";
import { placeBilinear } from "../delta/scaled-bases/place.ts";
import { drawsFactors, FACTOR_GENERATORS } from "../frozen/drawing/factors.ts";
import { recordOf } from "../frozen/origin.ts";
import {
  contentWithPair,
  freshlyDrawn,
  type FrozenInTraining,
  openFrozen,
  parseBasesFrom,
} from "../frozen/training.ts";
import { newConfig, trainedContent, trainedModuleRows, untrainedAdapter, untrainedTensors } from "../method/train.ts";
import { type AdapterSettings, BASES_SETTINGS } from "../method/settings.ts";
import type { AdapterTraining, MethodDefinition, OpenInput } from "../method/method.ts";
import { openExisting, targetSettings } from "../method/fit.ts";
import type { Method, Placement, Trainable } from "../method/training.ts";
import {
  veraConfig,
  VERA_FACTORS,
  planVera,
  trainedNumbers,
  VERA_PAIRING,
  VERA_TENSORS,
  type VeraPlan,
  veraShape,
} from "./plan.ts";
import { convertFrozen } from "../frozen/convert.ts";

/** Settings that VeRA has beside those of all adapters. */
const VERA_SETTINGS = {
  /** What λ_d begins with. */
  dInitial: v.pipe(v.number(), v.finite()),
  ...BASES_SETTINGS,
} as const;

type VeraSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof VERA_SETTINGS, undefined>>>;
type Settings = AdapterSettings & VeraSettings;

const veraTraining: AdapterTraining<VeraSettings> = {
  result: "adapter",
  settings: VERA_SETTINGS,
  usual: { rank: 256, rankFits: true, alphaPerRank: null, learningRate: 1e-2 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.max(out, input))),
    count: (modules, rank) => modules.reduce((sum, { out }) => sum + trainedNumbers(out, rank), 0),
    flops: (modules, rank, _, tokens) =>
      modules.reduce((sum, { out, in: input }) => sum + fewestFlops(veraShape(out, input, rank), tokens), 0),
  },
  resolve({ dInitial = 0.1, basisSeed = "0", projections = true, compute = "auto", ...given }) {
    const { generator = FACTOR_GENERATORS[0] } = given;
    if (generator !== null && !drawsFactors(generator)) {
      const cause = `--generator ${generator} does not draw VeRA's factors`;
      throw new RandloraError("usage", cause, `they are drawn by ${FACTOR_GENERATORS.join(", ")}`);
    }
    return { dInitial, basisSeed, generator, projections, compute };
  },
  initial(adapter, given) {
    const { r: rank, targets, key, dInitial } = veraConfig(adapter);
    const generator = recordOf(adapter, VERA_FACTORS)?.generator ?? given.generator ?? null;
    return { rank, ...targetSettings(targets), dInitial, basisSeed: String(key), generator };
  },
  async open(input, settings, adapter) {
    const plan =
      adapter === undefined
        ? planNew(input, settings, findTargets(input.base, settings))
        : await planExisting(input, settings, adapter);
    const { config, layers } = plan;
    const frozen = await openFrozen(VERA_FACTORS, plan, parseBasesFrom(input.began), input.signal);
    return {
      // In the order in which PEFT saves them.
      parameters: layers.flatMap(({ out, tensors: { gamma, lambda } }) => [
        { name: gamma.name, shape: [1, out] as const },
        { name: lambda.name, shape: [config.r, 1] as const },
      ]),
      modules: trainedModuleRows(layers, ({ out }) => trainedNumbers(out, config.r)),
      notes: plan.notes,
      place: (on) => place(on, plan, frozen, settings, input.seed),
    } satisfies Trainable;
  },
};

function planNew({ base, model, dtype: held }: OpenInput, settings: Settings, targets: Targets): VeraPlan {
  const drawn = freshlyDrawn(settings, held, targets);
  return planVera(newVera(settings, targets, model, drawn.dtype), base, { drawn });
}

/** @throws RandloraError `adapter` when it does not fit the base, or holds more than VeRA's parameters */
async function planExisting({ base }: OpenInput, settings: VeraSettings, adapter: Adapter): Promise<VeraPlan> {
  // Where the adapter says what drew its factors, the settings have it from there.
  const generator = adapter.bases === undefined ? (settings.generator ?? undefined) : undefined;
  return await openExisting(planVera(adapter, base, { generator }));
}

/**
 * PEFT's start: λ_b = 0, so that ΔW = 0, and λ_d = `d_initial`, which PEFT casts to the base weight's dtype and back, as it
 * does with the factors.
 */
function newVera(settings: Settings, targets: Targets, model: string, grid: FloatGrid): Adapter {
  const { rank: r, dInitial, dropout } = settings;
  const config = newConfig(model, targets, {
    auto_mapping: null,
    bias: "none",
    d_initial: dInitial,
    init_weights: true,
    peft_type: "VERA",
    projection_prng_key: fromBigInt(BigInt(settings.basisSeed)),
    r,
    revision: null,
    save_projection: true,
    vera_dropout: dropout,
  });
  const tensors = untrainedTensors(VERA_TENSORS, { r }, targets.modules, () => ({
    lambda: () => new Float32Array(r).fill(roundToGrid(Math.fround(dInitial), grid)),
  }));
  return untrainedAdapter(config, tensors);
}

async function place(
  on: Placement,
  { adapter, layers }: VeraPlan,
  frozen: FrozenInTraining,
  settings: Settings,
  seed: number,
): Promise<Method> {
  const source = { ...frozen, adapter, layers, pairing: VERA_PAIRING, scale: 1 } as const;
  return {
    ...(await placeBilinear(on, source, settings, seed)),
    content: () =>
      contentWithPair(frozen, settings.projections, (saved) => {
        const own = layers.flatMap(({ tensors: { gamma, lambda } }) => [gamma, lambda]);
        const keys = { vera_dropout: settings.dropout, save_projection: saved };
        return trainedContent(adapter, on.parameters, own, keys, frozen.record);
      }),
  };
}

/** VeRA (Kopiczko et al., arXiv:2310.11454): two random factors for all layers, and two trained vectors for each. */
export const vera: MethodDefinition<VeraSettings> = {
  name: "vera",
  title: "VeRA",
  peftTypes: ["VERA"],
  shared: VERA_FACTORS.shared,
  check: veraConfig,
  plan: planVera,
  convert: (adapter, wish) =>
    convertFrozen(VERA_FACTORS, adapter, wish, { config: veraConfig(adapter), inPeft: true, saysSaved: true }),
  training: veraTraining,
};
