import {
  type BaseModel,
  isConv1d,
  isOfExpert,
  isRouter,
  linearModules,
  modelTypeOf,
  type Within,
  isOutputEmbedding,
  lastSegment,
} from "./base.ts";
import { findWeight, modulePath, targetName, textPartOf, unshiftPath } from "./module-paths.ts";
import { type ExpertParameter, expertParameters, factorPrefixes } from "./experts.ts";
import { layerOf, defaultTargets, targetMatcher, type TargetRules } from "./targets.ts";
import { RandloraError } from "../../files/errors.ts";
import { isKernelDtype } from "../../compute/device/dtype.ts";
import { targetsOf } from "../../models/decoder/architectures/index.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";

/** What is asked for: a regular expression or `all-linear`, or names; of these layers only, where any are given. */
export interface AskedTargets {
  readonly targets: string | string[];
  readonly layers: readonly number[];
}

/** A linear layer that will be adapted. */
export interface TargetModule {
  /** The module's dotted path as transformers 5 has it, which adapters are written with. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  /** W is (out, in). */
  readonly out: number;
  readonly in: number;
  readonly dtype: Dtype;
  /** There are as many such matrices, one of each expert: the module is what PEFT calls their parameter's wrapper. */
  readonly experts?: number;
}

/** The adapted modules, and how an adapter's configuration says which they are. */
export interface Targets {
  readonly modules: readonly TargetModule[];
  readonly config: {
    readonly target_modules: string | readonly string[];
    readonly layers_to_transform: readonly number[] | null;
    /** Experts' parameters and routers, where a method adapts them; left out where there are none. */
    readonly target_parameters?: readonly string[];
    /** PEFT says so of weights that are stored (in, out); left out where they are not. */
    readonly fan_in_fan_out?: true;
  };
}

/**
 * Finds the modules that the settings mean, by PEFT's rules. PEFT reads `layers_to_transform` only beside a list of
 * names: with anything else the modules are listed one by one. Matrices of experts are modules where a checkpoint has them for
 * each expert; `experts.gate_up_proj` and `experts.down_proj` mean those of all, however they are stored.
 * @param rules.parameters the method adapts the parameters of all experts of a layer, and routers as parameters
 * @throws RandloraError `usage` when nothing is matched, or what is matched cannot be trained
 */
export function findTargets(
  base: BaseModel,
  { targets, layers }: AskedTargets,
  { parameters: adaptsParameters = false }: { readonly parameters?: boolean | undefined } = {},
): Targets {
  const byName = typeof targets !== "string";
  const modelType = modelTypeOf(base);
  const text = textPartOf(base);
  const { prefix, saved, parts, adapted }: Within = base.within ?? {
    prefix: "",
    saved: [],
    adapted: text && [text.begin],
  };
  const nameOf = (stored: string) =>
    prefix + (text === undefined ? modulePath(stored, modelType) : unshiftPath(stored, text.shift));
  const matcher = (names: AskedTargets["targets"]) => {
    const list = typeof names !== "string";
    const rules = { exclude: [], modulesToSave: saved, layers: list ? layers : [], layersPattern: [] };
    return matcherOf({ ...rules, modules: names }, modelType);
  };
  const matches = matcher(targets);
  const wanted = new Set(layers);
  const inLayers = (module: string) => {
    const [, index] = /\.(\d+)\./.exec(module) ?? [];
    return byName || layers.length === 0 || (index !== undefined && wanted.has(Number(index)));
  };
  const isIn = (some: readonly string[] | undefined, path: string) =>
    some === undefined || some.some((part) => path.startsWith(part));
  const all = linearModules(base)
    .filter((stored) => isIn(parts, stored))
    .map((stored) => ({ stored, name: nameOf(stored) }));
  // Targets may be in the checkpoint's spelling, too.
  const matched = all.filter(
    ({ stored, name }) => isIn(adapted, stored) && (matches(name) || matches(prefix + stored)) && inLayers(stored),
  );
  const meant = (path: string) => matches(path) && inLayers(path);
  const parameters = targets === "all-linear" ? [] : wantedParameters(base, matched, meant, adaptsParameters);
  const whole = new Set(parameters.flatMap(({ tensors }) => tensors));
  const found = matched.filter(({ stored }) => !whole.has(`${stored}.weight`));
  if (found.length + parameters.length === 0) throw nothingMatched(base, targets, layers);
  const pathOf = ({ module, name }: ExpertParameter) => `${module}.${name}`;
  refuseIdle(base, targets, layers, [...found, ...parameters.map((one) => ({ stored: pathOf(one) }))]);
  const [first] = parameters;
  if (first !== undefined && !adaptsParameters) throw refusedParameter(first);
  const modules = found.map((module) => targetModule(base, module));
  const prefixes = factorPrefixes(parameters);
  const ofExperts = parameters.map((one, at): TargetModule => {
    const { out, in: input, dtype, tensors } = one;
    return { name: itemAt(prefixes, at), tensor: itemAt(tensors, 0), out, in: input, dtype, experts: one.experts };
  });
  // Routers are parameters in transformers 5.
  const isModule = (name: string) => !adaptsParameters || !isRouter(name);
  const names = modules.map(({ name }) => name).filter(isModule);
  // PEFT matches modules that hold a linear layer as well (those of Gemma 4's image encoder), and refuses them.
  const holders = all.flatMap(({ name }) => (name.endsWith(".linear") ? [name.slice(0, -".linear".length)] : []));
  const isSame = (other: AskedTargets["targets"]) =>
    names.length > 0 &&
    !holders.some(matcher(other)) &&
    JSON.stringify(all.map(({ name }) => name).filter(matcher(other))) === JSON.stringify(names);
  // What is written means the same to transformers 5; else the modules are listed one by one.
  const spelt = byName ? [...new Set(targets.map((target) => targetName(target, modelType)))] : targets;
  const written = (byName || layers.length === 0) && (isSame(targets) ? targets : isSame(spelt) ? spelt : undefined);
  const isWhole = written !== undefined && parameters.length === 0;
  const inList = byName && layers.length > 0 && isWhole;
  const paths = [
    ...parameters.map(pathOf),
    ...modules.filter(({ name }) => !isModule(name)).map(({ name }) => `${name}.weight`),
  ];
  return {
    modules: [...modules, ...ofExperts],
    config: {
      target_modules: (isWhole && written) || names,
      layers_to_transform: inList ? layers : null,
      ...(paths.length === 0 ? {} : { target_parameters: paths }),
      ...(found.some(({ stored }) => isConv1d(stored, base, false) && !isOfExpert(stored))
        ? { fan_in_fan_out: true }
        : {}),
    },
  };
}

/**
 * Parameters of experts at paths that are matched. A name that means modules of single experts, too, means those, but where files have
 * the parameter as it is and it can be adapted.
 */
function wantedParameters(
  base: BaseModel,
  found: readonly { readonly stored: string }[],
  matches: (path: string) => boolean,
  adaptsParameters: boolean,
): ExpertParameter[] {
  const apart = new Set(found.map(({ stored }) => `${stored}.weight`));
  const isStored = (tensor: string) => adaptsParameters && base.tensors.get(tensor)?.whole !== undefined;
  return expertParameters(base).filter(({ module, name, tensors }) => {
    return matches(`${module}.${name}`) && !tensors.some((tensor) => apart.has(tensor) && !isStored(tensor));
  });
}

function refusedParameter({ module, name, tensors }: ExpertParameter): RandloraError {
  const cause = `--targets match ${quote(`${module}.${name}`)}: parameters of all experts are adapted by LoRA alone`;
  const own = new Set(tensors.map((tensor) => lastSegment(tensor.replace(/\.weight$/, ""))));
  const hint =
    tensors.length > 1
      ? String.raw`name each expert's modules: --targets '.*\.experts\.\d+\.(${[...own].join("|")})'`
      : "give --method lora, or full, which trains all";
  return new RandloraError("usage", cause, hint);
}

/** Checks what was matched. @throws RandloraError `usage` or `adapter` for what cannot be trained */
function targetModule(
  base: BaseModel,
  { stored, name }: { readonly stored: string; readonly name: string },
): TargetModule {
  const { tensor, shape, dtype } = findWeight(stored, { drop: "", add: "" }, base, "--targets");
  if (isOutputEmbedding(stored)) {
    const cause = `--targets match ${quote(name)}, which shares its weight with the loss and cannot be adapted yet`;
    throw new RandloraError("usage", cause, "leave it out; --method full trains it");
  }
  if (dtype !== "F64" && !isKernelDtype(dtype)) {
    const cause = `${oneLine(base.path)}: ${quote(tensor)} is ${dtype}: quantized weights cannot be adapted`;
    throw new RandloraError("adapter", cause, "use the original, unquantized model");
  }
  const [out = 0, input = 0] = isConv1d(stored, base, false) ? shape.toReversed() : shape;
  if (isOfExpert(name) && out % 4 !== 0 && !/\.(?:w2|down_proj)$/.test(name)) {
    // Gate and up share a product, of which one begins and the other ends within a vector.
    const cause = `${quote(name)} has ${out} rows: of experts' gates and ups multiples of 4 can be adapted`;
    throw new RandloraError("usage", cause, "leave it out of --targets; --method full trains it");
  }
  return { name, tensor, out, in: input, dtype };
}

/** What the user wrote is at fault if the matcher cannot read it. */
function matcherOf(rules: TargetRules, modelType: string | undefined): (module: string) => boolean {
  try {
    return targetMatcher(rules, modelType);
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    throw new RandloraError("usage", `--targets: ${thrown.message}`, thrown.hint, { cause: thrown });
  }
}

/** Refuses names and layers that add nothing: they are misspelt, and the run would be another one than was asked for. */
function refuseIdle(
  base: BaseModel,
  targets: string | readonly string[],
  layers: readonly number[],
  matched: readonly { readonly stored: string }[],
): void {
  const modelType = modelTypeOf(base);
  const all = [
    ...linearModules(base).flatMap((stored) => [stored, modulePath(stored, modelType)]),
    ...expertParameters(base).map(({ module, name }) => `${module}.${name}`),
  ];
  // Default targets are for all models of a type: one without delta-rule layers has no in_proj_qkv.
  const usual = [defaultTargets(modelType ?? ""), targetsOf(modelType ?? "")];
  const isUsual = usual.some((one) => JSON.stringify(one) === JSON.stringify(targets));
  const names = typeof targets === "string" || isUsual ? [] : targets;
  const name = names.find((one) => !all.some((module) => module === one || module.endsWith(`.${one}`)));
  if (name !== undefined) throw nothingMatched(base, [name], []);
  const layer = layers.find((one) => !matched.some(({ stored }) => layerOf(stored) === one));
  if (layer !== undefined) throw nothingMatched(base, targets, [layer]);
}

function nothingMatched(
  base: BaseModel,
  targets: string | readonly string[],
  layers: readonly number[],
): RandloraError {
  const shown = typeof targets === "string" ? targets : targets.join(",");
  const where = layers.length === 0 ? "" : ` in layers ${layers.join(",")}`;
  const modelType = modelTypeOf(base);
  const last = new Set([
    ...linearModules(base).map((stored) => lastSegment(modulePath(stored, modelType))),
    ...expertParameters(base).map(({ name }) => `experts.${name}`),
  ]);
  const hint = `modules of this model: ${[...last].slice(0, 12).join(", ")}`;
  return new RandloraError(
    "usage",
    `--targets ${shown}: no linear layer of ${oneLine(base.path)}${where} matches`,
    hint,
  );
}
