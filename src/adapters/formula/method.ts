import * as v from "valibot";
import { isBlockDtype } from "../../compute/device/dtype.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Strided } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { type JsonObject, toPlainObject } from "../../files/lossless-json.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { findTargets, type TargetModule, type Targets } from "../base/target-modules.ts";
import { weightFinder } from "../delta/parts.ts";
import { adaptedMethod } from "../delta/through-weights/adapted-method.ts";
import type { AdaptedModule } from "../delta/through-weights/held.ts";
import { fitAdapter, type TrainedTensors, unusedGenerator, openExisting, targetSettings } from "../method/fit.ts";
import { convertAsIs } from "../frozen/convert.ts";
import type { MethodDefinition, ModuleShape } from "../method/method.ts";
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
import type { Method, Placement, Trainable } from "../method/training.ts";
import type { AdapterSettings } from "../method/settings.ts";
import { memoryTensor, readAllValues, readF32 } from "../files/tensors.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { formulaDeltas, type FormulaLayer } from "./deltas.ts";
import {
  type ConfigRules,
  type DeltaRows,
  dropoutKeys,
  type Formula,
  laterRows,
  type Matrices,
  ownKeys,
  readConfig,
  rowsOf,
  type Sizes,
  sizesOf,
  stridedWeight,
} from "./formula.ts";

/** What makes a method of a formula for ΔW. The rest (files, fitting, merging, training) is the same for all. */
export interface FormulaMethod<
  T extends string,
  O extends v.ObjectEntries = Record<never, never>,
> extends ConfigRules<O> {
  /** `--method`. */
  readonly name: string;
  /** As sentences have it. */
  readonly title: string;
  /** Its `peft_type`. */
  readonly peftType: string;
  /** The largest rank that makes sense for these modules. */
  most(modules: readonly ModuleShape[]): number;
  /** What is trained of each module. */
  readonly tensors: TrainedTensors<Sizes<O>, T>;
  /** Values before training; zeros where left out. `stream`: which module it is, for random ones. */
  start(module: ModuleShape, sizes: Sizes<O>, seed: number, stream: number): Start<T>;
  /** Records values before training that follow from a module's W (out, in). */
  begin?(run: Run, weight: Tensor, of: Matrices<T>): void;
  formula(module: ModuleShape, sizes: Sizes<O>): Formula<T>;
  /** ΔW depends on W, which the formula takes: it cannot be subtracted again, and the base must not be quantized. */
  takesWeight?(own: Sizes<O>["own"]): boolean;
  /** Why a module cannot have these sizes, if so: what does not divide what. */
  misfit?(module: ModuleShape, sizes: Sizes<O>): string | undefined;
  /** What to say of a rank on these modules. */
  notes?(modules: readonly ModuleShape[], rank: number): readonly string[];
  /** Multiplications by an element of G when it is folded, of the least rank; `budget`'s time of a step counts them. */
  readonly terms: number;
}

/** The method of a formula. */
export function formulaMethod<T extends string, O extends v.ObjectEntries>(
  method: FormulaMethod<T, O>,
): MethodDefinition {
  const { name, title, peftType, peft, usual, tensors } = method;
  const { fixed = [] } = tensors;
  const trainedKeys = (Object.keys(tensors.names) as T[]).filter((key) => !fixed.includes(key));
  const what = `${title}, which has no random bases`;
  const count = (module: ModuleShape, r: number, own = ownKeys(method, {}, "")) => {
    if (method.misfit?.(module, { r, own }) !== undefined) return Infinity;
    const shapes = tensors.shapes({ r, own }, { ...module, module: "" });
    return trainedKeys.reduce((sum, key) => sum + shapeElements(shapes[key]), 0);
  };
  return {
    name,
    title,
    peftTypes: [peftType],
    ownTypes: peft === undefined ? [peftType] : [],
    shared: [],
    check: (written) => readConfig(method, written),
    plan(adapter, base, options) {
      const { layers, replacements, config } = fit(method, adapter, base);
      const notes = unusedGenerator(adapter, options, what);
      const rescales = method.takesWeight?.(config.own) ?? false;
      const load = async () => formulaDeltas(adapter, layers, rescales);
      const known = { adapter, layers, replacements, notes, bases: "none", rescales } as const;
      return { ...known, roundsDelta: peft?.roundsDelta ?? false, load };
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
        const { r: rank, alpha, targets } = readConfig(method, adapter);
        return { rank, ...(usual.alphaPerRank === null ? {} : { alpha }), ...targetSettings(targets) };
      },
      async open({ base, model, seed }, settings, adapter) {
        const plan =
          adapter === undefined
            ? fit(method, untrained(method, settings, findTargets(base, settings), model, seed), base)
            : await openExisting(fit(method, adapter, base));
        return {
          parameters: plan.layers.flatMap(({ tensors: own }) => [
            ...trainedKeys.map((key) => matrixOf(own[key])),
            ...fixed.map((key) => ({ ...matrixOf(own[key]), rate: 0 })),
          ]),
          modules: trainedModuleRows(plan.layers, (layer) => {
            const { r, own } = sizesOf(plan.config, layer.module);
            return count(layer, r, own);
          }),
          notes: method.notes?.(plan.layers, plan.config.r) ?? [],
          place: (on) => place(on, method, plan, settings, seed, adapter === undefined),
        } satisfies Trainable;
      },
    },
  };
}

/** @throws RandloraError `adapter` with the reason when it cannot be applied, `format` for a file that is incomplete */
function fit<T extends string, O extends v.ObjectEntries>(
  method: FormulaMethod<T, O>,
  adapter: Adapter,
  base: BaseModel,
) {
  const config = readConfig(method, adapter);
  const { shapes } = method.tensors;
  const isScaled = method.usual.alphaPerRank !== null && method.peft?.alpha === undefined;
  const found = fitAdapter(adapter, base, config, {
    ...method.tensors,
    shapes: (_, module) => shapes(sizesOf(config, module.module), module),
  });
  const layers = found.layers.map((layer): FormulaLayer<T> => {
    const sizes = sizesOf(config, layer.module);
    const scale = isScaled ? config.alpha / sizes.r : 1;
    const misfit = method.misfit?.(layer, sizes);
    if (misfit !== undefined) {
      const cause = `${oneLine(adapter.configFile)}: module ${quote(layer.module)} (${layer.out}, ${layer.in}): ${misfit}`;
      throw new RandloraError("adapter", cause, "take another --rank, other --targets, or PEFT's merge_and_unload()");
    }
    return { ...layer, formula: method.formula(layer, sizes), scale };
  });
  return { ...found, layers };
}

function untrained<T extends string, O extends v.ObjectEntries>(
  method: FormulaMethod<T, O>,
  { rank, alpha, dropout }: AdapterSettings,
  targets: Targets,
  model: string,
  seed: number,
): Adapter {
  const { peftType, peft, usual, tensors, start } = method;
  const own: JsonObject = {
    ...(v.getDefaults(v.object(peft?.keys ?? ({} as O))) as JsonObject), // PEFT's, as JSON has them
    ...(usual.alphaPerRank === null ? {} : { [peft?.alpha ?? "alpha"]: alpha }),
    ...(peft?.ranks === undefined ? {} : { [peft.ranks]: {} }),
    ...(peft?.bias === undefined ? {} : { bias: "none" }),
    ...dropoutKeys(method, dropout),
    peft_type: peftType,
    [peft?.rank ?? "r"]: rank,
  };
  const config = newConfig(model, targets, own);
  const sizes = readConfig(method, { settings: toPlainObject(config), configFile: "" });
  const values = (module: TargetModule, index: number) => start(module, sizes, seed, index);
  return untrainedAdapter(config, untrainedTensors(tensors, sizes, targets.modules, values));
}

/** @throws RandloraError `adapter` for a quantized one */
function placedWeight(title: string, weight: Tensor): Strided {
  if (!isBlockDtype(weight.dtype)) return stridedWeight(weight);
  const cause = `${weight.buffer.label} is quantized: ${title} multiplies with the weights themselves`;
  throw new RandloraError("adapter", cause, "leave --quantize out, or take the original, unquantized model");
}

async function place<T extends string, O extends v.ObjectEntries>(
  on: Placement,
  method: FormulaMethod<T, O>,
  { adapter, layers, config }: Pick<ReturnType<typeof fit<T, O>>, "adapter" | "layers" | "config">,
  { dropout }: AdapterSettings,
  seed: number,
  isNew: boolean,
): Promise<Method> {
  const { parameters, factor = 1 } = on;
  await writeTrained(parameters, adapter, layers);
  const { fixed = [], integers = [] } = method.tensors;
  const known: DeltaRows["values"][] = [];
  for (const { tensors } of layers) {
    const own: Record<string, AdapterTensor> = Object.fromEntries(fixed.map((key) => [key, tensors[key]]));
    known.push(await readAllValues(adapter, own));
  }
  const find = weightFinder(on.tensors);
  const begins: ((run: Run) => void)[] = [];
  const modules = layers.map(({ module: name, tensor, tensors, formula, ...layer }, index): AdaptedModule => {
    const of = mapValues(tensors, (own) => parameters.get(own.name).value);
    const gradients = mapValues(tensors, (own) => parameters.get(own.name).gradient);
    const scale = layer.scale * factor;
    const found = find(tensor);
    const { [index]: values } = known;
    if (isNew) begins.push((run) => method.begin?.(run, found.weight, of));
    const weight = method.takesWeight?.(config.own) === true ? placedWeight(method.title, found.weight) : undefined;
    return {
      name,
      ...found,
      shape: { out: layer.out, in: layer.in },
      index,
      form(run, target, accumulate, from = 0) {
        for (const { first, ...rows } of rowsOf(target, laterRows(weight, from))) {
          formula.form(run, of, scale, { first: from + first, ...rows, values }, accumulate);
        }
      },
      fold(run, g) {
        for (const rows of rowsOf(g, weight)) formula.fold(run, of, scale, { ...rows, values }, gradients);
      },
    };
  });
  return {
    ...adaptedMethod(on, modules, { rate: dropout, seed }),
    begin: (run) => begins.forEach((begin) => begin(run)),
    content: async () => {
      const own = layers.flatMap((layer) => Object.values<AdapterTensor>(layer.tensors));
      const content = await trainedContent(adapter, parameters, own, dropoutKeys(method, dropout), undefined);
      const whole = new Set(layers.flatMap(({ tensors }) => integers.map((key) => tensors[key].name)));
      return {
        ...content,
        tensors: await Promise.all(content.tensors.map((one) => (whole.has(one.name) ? asI32(one) : one))),
      };
    },
  };
}

/** Whole numbers as PEFT saves them. */
async function asI32(tensor: AdapterTensor): Promise<AdapterTensor> {
  const values = Int32Array.from(await readF32(tensor, 0));
  return memoryTensor(tensor.name, "I32", tensor.shape, new Uint8Array(values.buffer));
}
