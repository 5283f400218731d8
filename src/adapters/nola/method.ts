import * as v from "valibot";
import { fromBigInt } from "../../files/lossless-json.ts";
import type { Adapter } from "../files/adapter.ts";
import { groupExperts } from "../base/experts.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { DerivedFactors, type FactorStack, groupFactors } from "../delta/low-rank/derived.ts";
import { lowRankFlops } from "../delta/low-rank/linears.ts";
import { checkDrawn } from "../frozen/drawing/bases.ts";
import {
  newConfig,
  trainedContent,
  trainedModuleRows,
  untrainedAdapter,
  untrainedTensors,
  writeTrained,
} from "../method/train.ts";
import { type AdapterSettings, countedBases, resolveBases } from "../method/settings.ts";
import type { AdapterTraining, MethodDefinition } from "../method/method.ts";
import { openExisting, targetSettings } from "../method/fit.ts";
import type { Method, Placement, Trainable } from "../method/training.ts";
import type { Parameter } from "../method/parameters.ts";
import { MOST_BASES, nolaConfig, PEFT_TYPE, drawsOf, formatRecord, GENERATOR, type NolaDraws } from "./draws.ts";
import { NOLA_TENSORS, type NolaLayer, type NolaPlan, planNola } from "./plan.ts";
import { type CoefficientRows, type FormedStack, initialStacks, NolaBases } from "./products.ts";
import { convertAsIs } from "../frozen/convert.ts";

/** Settings that NoLA has beside those of every adapter. Bases: k, coefficients of A, and of B, of each module. */
const NOLA_SETTINGS = countedBases(MOST_BASES);

type NolaSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof NOLA_SETTINGS, undefined>>>;

const USUAL_RANK = 8;

const nolaTraining: AdapterTraining<NolaSettings> = {
  result: "adapter",
  settings: NOLA_SETTINGS,
  usual: { rank: USUAL_RANK, alphaPerRank: 2, learningRate: 3e-4 },
  capacity: {
    setting: "bases",
    // So many bases span all factors of this rank: more of them add none.
    most: (modules) => USUAL_RANK * Math.max(...modules.flatMap(({ out, in: input }) => [out, input])),
    count: (modules, bases) => 2 * bases * modules.length,
    flops(modules, bases, { rank = USUAL_RANK }, tokens) {
      // Each factor is formed once, and its gradient taken back to the coefficients.
      const sums = modules.reduce((sum, { out, in: input }) => sum + 4 * bases * rank * (out + input), 0);
      return lowRankFlops(modules, rank, tokens) + sums;
    },
  },
  // The authors' number of bases for language models (arXiv:2310.02556, section 3.1).
  resolve: ({ bases = 1024, basisSeed }) => resolveBases(MOST_BASES, bases, basisSeed),
  initial(adapter) {
    const { r: rank, alpha, targets, bases, key } = nolaConfig(adapter);
    return { rank, alpha, ...targetSettings(targets), bases, basisSeed: String(key) };
  },
  async open({ base, model, seed }, settings, adapter) {
    const plan =
      adapter === undefined
        ? planNola(newNola(settings, findTargets(base, settings), model, seed), base)
        : await openExisting(planNola(adapter, base));
    const { groups, others } = groupExperts(plan.layers, base);
    const layers = [...others, ...groups.flatMap((group) => group.layers)];
    return trainableNola({ ...plan, layers }, settings.dropout, seed);
  },
};

/** A new adapter: ΔW = 0, since all coefficients are zero. @throws RandloraError `adapter` for a rank beyond all models */
export function newNola(
  { rank, alpha, dropout, bases, basisSeed }: AdapterSettings & NolaSettings,
  targets: Targets,
  model: string,
  seed: number,
): Adapter {
  const { modules } = targets;
  const key = BigInt(basisSeed);
  const maxIn = Math.max(...modules.map((module) => module.in));
  const maxOut = Math.max(...modules.map(({ out }) => out));
  checkDrawn(rank, Math.max(maxIn, maxOut));
  const draws: NolaDraws = { key, bases, rank, maxIn, maxOut, initSeed: seed };
  const config = newConfig(model, targets, {
    bias: "none",
    nola_alpha: alpha,
    nola_dropout: dropout,
    num_bases: bases,
    peft_type: PEFT_TYPE,
    projection_prng_key: fromBigInt(key),
    r: rank,
  });
  return untrainedAdapter(
    config,
    untrainedTensors(NOLA_TENSORS, { bases }, modules, () => ({})),
    formatRecord(draws),
  );
}

/** NoLA (Koohpayegani et al., arXiv:2310.02556): y += scale · B (A x), A = A₀ + Σ cᵢUᵢ/√k, B = Σ dᵢVᵢ/√k. */
export function trainableNola(plan: NolaPlan, dropout: number, seed: number): Trainable {
  const { layers, draws } = plan;
  return {
    // Those of factors of one shape side by side: their coefficients are then the rows of a matrix.
    parameters: [...stackedNames(layers, "a"), ...stackedNames(layers, "b")].map((name) => {
      return { name, shape: [1, draws.bases] as const };
    }),
    modules: trainedModuleRows(layers, () => 2 * draws.bases),
    notes: [],
    place: (on) => place(on, plan, { dropout, seed }),
  };
}

async function place(
  { gpu, parameters, tensors: weights, factor = 1 }: Placement,
  { adapter, layers, draws }: NolaPlan,
  mode: { readonly dropout: number; readonly seed: number },
): Promise<Method> {
  await writeTrained(parameters, adapter, layers);
  const factors = new DerivedFactors(gpu, layers, factor);
  const initial = initialStacks(gpu, layers, draws);
  const [ofA, ofB] = [new NolaBases(gpu, draws, "a"), new NolaBases(gpu, draws, "b")];
  const stacked = (stacks: readonly FactorStack[], side: "a" | "b", before?: readonly FactorStack[]): FormedStack[] =>
    stacks.map((stack, at) => ({
      stack,
      initial: before?.[at],
      coefficients: coefficientRows(
        stack.modules.map((index) => parameters.get(layers[index]?.tensors[side].name ?? "")),
      ),
    }));
  const [a, aGradient, b] = [
    stacked(factors.a, "a", initial),
    stacked(factors.aGradient, "a"),
    stacked(factors.bt, "b"),
  ];
  return {
    ...factors.method(weights, mode, {
      form(run) {
        ofA.form(run, a);
        ofB.form(run, b);
      },
      fold(run) {
        ofA.fold(run, aGradient);
        ofB.fold(run, b);
      },
    }),
    content: () => {
      const own = layers.flatMap(({ tensors }) => [tensors.a, tensors.b]);
      return trainedContent(adapter, parameters, own, { nola_dropout: mode.dropout }, adapter.bases);
    },
  };
}

function stackedNames(layers: readonly NolaLayer[], side: "a" | "b"): string[] {
  const lengths = layers.map(({ out, in: input }) => ({ rows: 1, cols: side === "a" ? input : out }));
  return groupFactors(lengths).flatMap((group) =>
    group.modules.map((index) => layers[index]?.tensors[side].name ?? ""),
  );
}

/** Parameters of one size as matrices, a row each, as far as they lie at equal distances in one buffer. */
function coefficientRows(parameters: readonly Parameter[]): CoefficientRows[] {
  const rows: { at: number; first: Parameter; count: number; step: number }[] = [];
  for (const [at, parameter] of parameters.entries()) {
    const last = rows.at(-1);
    const { buffer, offset, pitch } = parameter.value;
    const step = last === undefined ? 0 : (offset - last.first.value.offset) / last.count;
    const follows = last?.first.value.buffer === buffer && step >= pitch && (last.count === 1 || step === last.step);
    if (last === undefined || !follows) rows.push({ at, first: parameter, count: 1, step: pitch });
    else [last.count, last.step] = [last.count + 1, step];
  }
  return rows.map(({ at, first: { value, gradient }, count, step }) => {
    const shape = [count, value.shape[1]] as const;
    return { at, value: { ...value, shape, pitch: step }, gradient: { ...gradient, shape, pitch: step } };
  });
}

/** NoLA (Koohpayegani et al., arXiv:2310.02556): a LoRA whose factors are sums of random ones. */
export const nola: MethodDefinition<NolaSettings> = {
  name: "nola",
  title: "NoLA",
  peftTypes: [PEFT_TYPE],
  ownTypes: [PEFT_TYPE],
  shared: [],
  check: nolaConfig,
  plan: planNola,
  convert: convertAsIs("NoLA, whose random factors are never stored", (adapter) => {
    drawsOf(adapter, nolaConfig(adapter));
    return GENERATOR;
  }),
  training: nolaTraining,
};
