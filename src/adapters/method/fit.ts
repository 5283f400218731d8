import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { findShift, type PathShift } from "../base/module-paths.ts";
import type { LayerSettings } from "../base/config-keys.ts";
import {
  type AdaptedLayer,
  adaptedLayer,
  requireTargeted,
  requireUnquantized,
  type TargetRules,
} from "../base/targets.ts";
import { findReplacements, type Replacement } from "../base/replacements.ts";
import { requireFloats, readAllValues } from "../files/tensors.ts";
import type { PlanOptions, AdapterPlan } from "./plan.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { AdapterTraining } from "./method.ts";
import type { AdapterSettings } from "./settings.ts";

/** The tensors that a method trains of each module. `C`: its settings, `T`: what it calls them, as "a" or "lambda". */
export interface TrainedTensors<C, T extends string> {
  /** What files call them, after the module's path and a dot. Modules come in the order in which a file lists the first name's tensors. */
  readonly names: Readonly<Record<T, string>>;
  /** Their shapes in a file. */
  shapes(config: C, module: TrainedModule): Readonly<Record<T, readonly number[]>>;
  /** Those that stay as they begin; none by default. */
  readonly fixed?: readonly T[];
  /** Those of them that are I32, or whole numbers. */
  readonly integers?: readonly T[];
  /** The same in words, for hints: "A is (r, in) and B (out, r)". */
  readonly meaning: string;
}

/** A module whose ΔW is (out, in), or one of as many of these as there are experts. */
export interface TrainedModule extends Pick<AdaptedLayer, "module" | "out" | "in"> {
  readonly experts?: number;
}

/** One adapted weight, and what is trained of it. */
export interface FittedLayer<T extends string = string> extends AdaptedLayer {
  readonly tensors: Readonly<Record<T, AdapterTensor>>;
}

/** An adapter that was fitted to a base: every shape checked, nothing read. */
export interface Fit<C, T extends string> {
  readonly adapter: Adapter;
  readonly config: C;
  readonly layers: readonly FittedLayer<T>[];
  readonly shift: PathShift;
  readonly replacements: readonly Replacement[];
}

/** What else a method says of its tensors. */
export interface FitRules<T extends string> {
  /** Tensors that are its own beside the trained ones of modules: shared ones, magnitudes. */
  readonly isOwn?: (name: string) => boolean;
  /** The adapted modules, where it is not the names of tensors that tell them. */
  readonly modules?: readonly ModuleTensors<T>[];
}

/** The trained tensors of one module. */
export interface ModuleTensors<T extends string> {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  readonly tensors: Readonly<Record<T, AdapterTensor>>;
}

/**
 * Fits an adapter to a base: finds each adapted weight, and checks the shapes of what is trained of it. Throws
 * `RandloraError` "adapter" with the reason when it cannot be applied, "format" for a file that is incomplete.
 */
export function fitAdapter<C extends LayerSettings, T extends string>(
  adapter: Adapter,
  base: BaseModel,
  config: C,
  trained: TrainedTensors<NoInfer<C>, T>,
  { isOwn, modules = trainedModules(adapter, trained) }: FitRules<T> = {},
): Fit<C, T> {
  requireUnquantized(base);
  const paths = modules.map(({ module }) => module);
  requireTargeted(adapter, config.targets, paths, base);
  const shift = findShift(paths, base, adapter.path);
  const layers = modules.map(({ module, tensors }) => {
    const layer = { ...adaptedLayer(module, adapter, base, shift, config.fanInFanOut), tensors };
    requireShapes(adapter, config, trained, layer, base);
    return layer;
  });
  const endings = Object.values<string>(trained.names).map((name) => `.${name}`);
  const rules = {
    isOwn: (name: string) => endings.some((ending) => name.endsWith(ending)) || (isOwn?.(name) ?? false),
    modules: new Set(paths),
    modulesToSave: config.modulesToSave,
    bias: config.bias,
  };
  return { adapter, config, layers, shift, replacements: findReplacements(adapter, rules, base, shift) };
}

/**
 * The trained tensors of an adapter, module by module in the order of the file. Throws `RandloraError` "format" where a
 * module has some of them without the others, "adapter" where there are none.
 */
export function trainedModules<T extends string>(
  adapter: Adapter,
  { names }: Pick<TrainedTensors<never, T>, "names">,
): ModuleTensors<T>[] {
  const endings = Object.values<string>(names);
  const found: ModuleTensors<T>[] = [];
  for (const name of adapter.tensors.keys()) {
    const own = endings.find((ending) => name.endsWith(`.${ending}`));
    if (own === undefined) continue;
    const module = name.slice(0, -own.length - 1);
    const tensors = mapValues(names, (ending) => {
      const tensor = adapter.tensors.get(`${module}.${ending}`);
      if (tensor !== undefined) return tensor;
      const cause = `${quote(name)} has no ${ending} beside it`;
      throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
    });
    if (own === endings[0]) found.push({ module, tensors });
  }
  if (found.length > 0) return found;
  const hint = "an adapter that was saved before it was trained, or that is split, cannot be applied";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: no ${endings[0]} of any module`, hint);
}

/**
 * Throws `RandloraError` "adapter" for a trained tensor of a layer that is not of its shape, or holds no floats.
 * @param base undefined where the shape of W was told by the tensors themselves
 */
export function requireShapes<C, T extends string>(
  adapter: Adapter,
  config: C,
  { shapes, meaning, integers = [] }: TrainedTensors<C, T>,
  layer: FittedLayer<T>,
  base: BaseModel | undefined,
): void {
  const wantedShapes = shapes(config, layer);
  mapValues(layer.tensors, (tensor, key) => {
    const wanted = wantedShapes[key];
    const { name, shape } = tensor;
    const isInteger = tensor.dtype === "I32" && integers.includes(key);
    if (String(shape) === String(wanted)) return isInteger ? undefined : requireFloats(adapter, tensor);
    const weight =
      base === undefined ? [] : [`${quote(layer.source)} of ${oneLine(base.path)} with [${layer.shape.join(", ")}]`];
    const asked = [...weight, oneLine(adapter.configFile)].join(" and ");
    const cause = `tensor ${quote(name)} has shape [${shape.join(", ")}], but [${wanted.join(", ")}] follows from ${asked}`;
    const hint =
      shape.length > 2
        ? "only linear layers can be adapted, no convolutions"
        : shape.length < wanted.length || shape.includes(0)
          ? "a sharded adapter must be gathered before it is saved"
          : `${meaning}: the adapter was made for another model, or its settings were changed`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  });
}

/** A note that `--generator` has no effect on an adapter. `what` completes "PATH is a …". */
export function unusedGenerator(
  { path }: Adapter,
  { generator, amongOthers = false }: PlanOptions,
  what: string,
): string[] {
  return generator === undefined || amongOthers ? [] : [`${oneLine(path)} is a ${what}: --generator has no effect`];
}

/** The settings for what an adapter's configuration says of its targets. */
export function targetSettings({ modules, layers }: TargetRules): Partial<AdapterSettings> {
  const targets = modules === null || typeof modules === "string" ? modules : [...modules];
  return { ...(targets === null ? {} : { targets }), layers: [...layers] };
}

/**
 * An adapter to go on from, fitted to the base, checked. Numbers that are not finite are refused here, and not when the
 * model is in memory. @throws RandloraError `numeric`, and `adapter` as {@link refuseMore}
 */
export async function openExisting<P extends ExistingPlan>(plan: P, rules: { parameters?: boolean } = {}): Promise<P> {
  refuseMore(plan, rules);
  for (const { tensors } of plan.layers) await readAllValues(plan.adapter, tensors);
  return plan;
}

interface ExistingLayers extends Pick<AdapterPlan, "adapter" | "replacements" | "layers"> {
  readonly experts?: readonly { readonly prefix: string }[];
}

/** What is asked of a plan for that. */
interface ExistingPlan extends ExistingLayers {
  readonly layers: readonly FittedLayer[];
}

/**
 * Throws `RandloraError` "adapter" for one that holds more than can be trained: whole modules, an output embedding, and parameters
 * of all experts of a layer where the method does not say that it trains them.
 */
export function refuseMore(
  { adapter, replacements, layers, experts: factors = [] }: ExistingLayers,
  { parameters = false }: { readonly parameters?: boolean } = {},
): void {
  const [replacement] = replacements;
  const [parameter] = factors;
  if (parameter !== undefined && !parameters) {
    const cause = `it changes ${quote(parameter.prefix)}: parameters of all experts are adapted by LoRA alone`;
    throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
  }
  const head = layers.find(({ tensor, source }) => tensor !== source || tensor.startsWith("lm_head."));
  const what = replacement?.tensor ?? head?.tensor;
  if (what === undefined) return;
  const cause = `it changes ${quote(what)}, which cannot be trained beside the adapter's parameters yet`;
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
}

/**
 * The settings that an adapter has when it is used as it is: products go through the factors, nothing is dropped.
 * @throws RandloraError `usage` where `generator` contradicts it
 */
export function settingsAsIs(
  training: AdapterTraining,
  adapter: Adapter,
  generator: GeneratorName | undefined,
): AdapterSettings {
  const initial = training.initial(adapter, { generator });
  // It has one order of products, and is refused beside another.
  const given = { generator, ...("variant" in initial && initial.variant === "rank-r" ? {} : { compute: "factored" }) };
  const { rank } = training.usual;
  const common = { rank, alpha: rank, targets: [], layers: [], initAdapter: null, initCommit: null, initSha256: null };
  return { ...common, ...initial, dropout: 0, ...training.resolve({ ...given, ...initial }) };
}
