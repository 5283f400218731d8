import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { findShift, type PathShift } from "../base/module-paths.ts";
import type { LayerSettings } from "../base/config-keys.ts";
import { type AdaptedLayer, adaptedLayer, requireTargeted, requireUnquantized } from "../base/layers.ts";
import { findReplacements, type Replacement } from "../base/replacements.ts";
import { requireFloats } from "../files/values.ts";
import type { PlanOptions } from "./plan.ts";

/** The tensors that a method trains of each module. `C`: its settings, `T`: what it calls them, as "a" or "lambda". */
export interface TrainedTensors<C, T extends string> {
  /** What files call them, after the module's path and a dot. Modules come in the order in which a file lists the first name's tensors. */
  readonly names: Readonly<Record<T, string>>;
  /** Their shapes in a file. */
  shapes(config: C, module: TrainedModule): Readonly<Record<T, readonly number[]>>;
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
  { shapes, meaning }: TrainedTensors<C, T>,
  layer: FittedLayer<T>,
  base: BaseModel | undefined,
): void {
  const wantedShapes = shapes(config, layer);
  mapValues(layer.tensors, (tensor, key) => {
    const wanted = wantedShapes[key];
    const { name, shape } = tensor;
    if (String(shape) === String(wanted)) return requireFloats(adapter, tensor);
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
