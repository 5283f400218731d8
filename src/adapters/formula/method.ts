import * as v from "valibot";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter, AdapterTensor, WrittenSettings } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import {
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
} from "../base/config-keys.ts";
import { findTargets, type TargetModule, type Targets } from "../base/target-modules.ts";
import { weightFinder } from "../delta/parts.ts";
import { adaptedMethod } from "../delta/through-weights/adapted-method.ts";
import type { AdaptedModule } from "../delta/through-weights/held.ts";
import { fitAdapter, type TrainedTensors, unusedGenerator } from "../method/fit.ts";
import { convertAsIs } from "../frozen/convert.ts";
import type { MethodDefinition, ModuleShape, UsualSettings } from "../method/method.ts";
import {
  matrixOf,
  newConfig,
  type Start,
  trainedContent,
  trainedModuleRows,
  untrainedAdapter,
  untrainedTensors,
  writeTrained,
} from "../method/train.ts";
import { openExisting, targetSettings } from "../method/existing.ts";
import type { Method, Placement, Trainable } from "../method/training.ts";
import type { AdapterSettings } from "../method/settings.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { formulaDeltas, type FormulaLayer } from "./deltas.ts";
import { type Formula, rowsOf } from "./formula.ts";

/** What makes a method of a formula for ΔW. The rest (files, fitting, merging, training) is the same for all. */
export interface FormulaMethod<T extends string> {
  /** `--method`. */
  readonly name: string;
  /** As sentences have it. */
  readonly title: string;
  /** Its `peft_type`, which PEFT has not. */
  readonly peftType: string;
  readonly usual: UsualSettings;
  /** The largest rank that makes sense for these modules. */
  most(modules: readonly ModuleShape[]): number;
  /** What is trained of each module, by its rank. */
  readonly tensors: TrainedTensors<Pick<FormulaConfig, "r">, T>;
  /** Values before training; zeros where left out. `stream`: which module it is, for random ones. */
  start(module: ModuleShape, rank: number, seed: number, stream: number): Start<T>;
  formula(module: ModuleShape, rank: number): Formula<T>;
  /** What to say of a rank on these modules. */
  notes?(modules: readonly ModuleShape[], rank: number): readonly string[];
  /** Multiplications by an element of G when it is folded, of the least rank; `budget`'s time of a step counts them. */
  readonly terms: number;
}

/** The settings of such an adapter, in PEFT's manner. */
export interface FormulaConfig extends LayerSettings {
  readonly r: number;
  /** ΔW is scaled by α/r. */
  readonly alpha: number;
}

// Nobody else writes such files: what decides about ΔW has no default.
const SCHEMA = v.object({
  r: positiveInteger,
  alpha: finiteNumber,
  dropout: dropoutShare,
  ...LAYER_KEYS,
});

/** The method of a formula. */
export function formulaMethod<T extends string>(method: FormulaMethod<T>): MethodDefinition {
  const { name, title, peftType, usual, tensors } = method;
  const what = `${title}, which has no random bases`;
  const count = (module: ModuleShape, r: number) => {
    const shapes = tensors.shapes({ r }, { ...module, module: "" });
    return Object.values<readonly number[]>(shapes).reduce((sum, shape) => sum + shapeElements(shape), 0);
  };
  return {
    name,
    title,
    peftTypes: [peftType],
    ownTypes: [peftType],
    shared: [],
    check: readConfig,
    plan(adapter, base, options) {
      const { layers, replacements } = fit(method, adapter, base);
      const notes = unusedGenerator(adapter, options, what);
      const load = async () => formulaDeltas(adapter, layers);
      return { adapter, layers, replacements, notes, bases: "none", roundsDelta: false, load };
    },
    convert: convertAsIs(what),
    training: {
      result: "adapter",
      settings: {},
      usual,
      capacity: {
        setting: "rank",
        most: (modules) => method.most(modules),
        count: (modules, rank) => modules.reduce((sum, module) => sum + count(module, rank), 0),
        // G = dyᵀx, which is folded.
        flops: (modules, _, __, tokens) =>
          modules.reduce((sum, { out, in: input }) => sum + 2 * out * input * (tokens + method.terms), 0),
      },
      formsWhole: true,
      resolve: () => ({}),
      initial(adapter) {
        const { r: rank, alpha, targets } = readConfig(adapter);
        return { rank, alpha, ...targetSettings(targets) };
      },
      async open({ base, model, seed }, settings, adapter) {
        const plan =
          adapter === undefined
            ? fit(method, untrained(method, settings, findTargets(base, settings), model, seed), base)
            : await openExisting(fit(method, adapter, base));
        return {
          parameters: plan.layers.flatMap(({ tensors: own }) => Object.values<AdapterTensor>(own).map(matrixOf)),
          modules: trainedModuleRows(plan.layers, (layer) => count(layer, plan.config.r)),
          notes: method.notes?.(plan.layers, plan.config.r) ?? [],
          place: (on) => place(on, plan, settings, seed),
        } satisfies Trainable;
      },
    },
  };
}

function readConfig({ settings, configFile }: WrittenSettings): FormulaConfig {
  const read = parseSettings(SCHEMA, settings, configFile);
  return { r: read.r, alpha: read.alpha, ...layerSettings(read, configFile) };
}

/** @throws RandloraError `adapter` with the reason when it cannot be applied, `format` for a file that is incomplete */
function fit<T extends string>(method: FormulaMethod<T>, adapter: Adapter, base: BaseModel) {
  const config = readConfig(adapter);
  const found = fitAdapter(adapter, base, config, method.tensors);
  const scale = config.alpha / config.r;
  const layers = found.layers.map((layer): FormulaLayer<T> => {
    return { ...layer, formula: method.formula(layer, config.r), scale };
  });
  return { ...found, layers };
}

function untrained<T extends string>(
  { peftType, tensors, start }: FormulaMethod<T>,
  { rank, alpha, dropout }: AdapterSettings,
  targets: Targets,
  model: string,
  seed: number,
): Adapter {
  const config = newConfig(model, targets, { alpha, dropout, peft_type: peftType, r: rank });
  const values = (module: TargetModule, index: number) => start(module, rank, seed, index);
  return untrainedAdapter(
    config,
    untrainedTensors(tensors, readConfig({ settings: config, configFile: "" }), targets.modules, values),
  );
}

async function place<T extends string>(
  on: Placement,
  { adapter, layers }: { readonly adapter: Adapter; readonly layers: readonly FormulaLayer<T>[] },
  { dropout }: AdapterSettings,
  seed: number,
): Promise<Method> {
  const { parameters, factor = 1 } = on;
  await writeTrained(parameters, adapter, layers);
  const find = weightFinder(on.tensors);
  const modules = layers.map(({ module: name, tensor, tensors, formula, ...layer }, index): AdaptedModule => {
    const of = mapValues(tensors, (own) => parameters.get(own.name).value);
    const gradients = mapValues(tensors, (own) => parameters.get(own.name).gradient);
    const scale = layer.scale * factor;
    return {
      name,
      ...find(tensor),
      shape: { out: layer.out, in: layer.in },
      index,
      form(run, target, accumulate, from = 0) {
        for (const { first, rows } of rowsOf(target)) {
          formula.form(run, of, scale, { first: from + first, rows }, accumulate);
        }
      },
      fold(run, g) {
        for (const rows of rowsOf(g)) formula.fold(run, of, scale, rows, gradients);
      },
    };
  });
  return {
    ...adaptedMethod(on, modules, { rate: dropout, seed }),
    content: () => {
      const own = layers.flatMap((layer) => Object.values<AdapterTensor>(layer.tensors));
      return trainedContent(adapter, parameters, own, { dropout }, undefined);
    },
  };
}
