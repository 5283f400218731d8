import { RandloraError } from "../../files/errors.ts";
import { quote, oneLine } from "../../files/failure.ts";
import { isOfExpert, isRouter, isEmbedding, isOutputEmbedding, type BaseModel, isConv1d, modelTypeOf } from "./base.ts";
import { besideMlp, isTargetParameter } from "./experts.ts";
import { PythonRegex } from "../../data/text/regex/python/regex.ts";
import { isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { isPacked, UNQUANTIZED } from "../../models/decoder/config-file.ts";
import { type BaseWeight, findWeight, type PathShift } from "./module-paths.ts";
import type { Adapter } from "../files/adapter.ts";

/** PEFT 0.21.2's default targets by `model_type` (utils/constants.py): RandLoRA takes LoRA's. */
const TABLE: Readonly<Record<string, string | readonly string[]>> = {
  t5: ["q", "v"],
  mt5: ["q", "v"],
  bart: ["q_proj", "v_proj"],
  gpt2: ["c_attn"],
  bloom: ["query_key_value"],
  "blip-2": ["q", "v", "q_proj", "v_proj"],
  opt: ["q_proj", "v_proj"],
  gptj: ["q_proj", "v_proj"],
  gpt_neox: ["query_key_value"],
  gpt_neo: ["q_proj", "v_proj"],
  bert: ["query", "value"],
  roberta: ["query", "value"],
  "xlm-roberta": ["query", "value"],
  electra: ["query", "value"],
  "deberta-v2": ["query_proj", "value_proj"],
  deberta: ["in_proj"],
  layoutlm: ["query", "value"],
  llama: ["q_proj", "v_proj"],
  llama4: ["q_proj", "v_proj"],
  chatglm: ["query_key_value"],
  gpt_bigcode: ["c_attn"],
  mpt: ["Wqkv"],
  RefinedWebModel: ["query_key_value"],
  RefinedWeb: ["query_key_value"],
  falcon: ["query_key_value"],
  btlm: ["c_proj", "c_attn"],
  codegen: ["qkv_proj"],
  mistral: ["q_proj", "v_proj"],
  mixtral: ["q_proj", "v_proj"],
  stablelm: ["q_proj", "v_proj"],
  phi: ["q_proj", "v_proj", "fc1", "fc2"],
  gemma: ["q_proj", "v_proj"],
  gemma2: ["q_proj", "v_proj"],
  gemma3_text: ["q_proj", "v_proj"],
  gemma4: String.raw`.*language_model\..*\.(q_proj|v_proj)`,
  qwen2: ["q_proj", "v_proj"],
  qwen3: ["q_proj", "v_proj"],
  nemotron_h: ["q_proj", "k_proj", "v_proj", "o_proj"],
  rwkv: ["key", "value", "receptance", "output"],
  rwkv7: ["r_proj", "k_proj", "v_proj", "o_proj", "key", "value"],
};

/** The targets that PEFT takes when none are given; `undefined` when it knows none for this `model_type`. */
export function defaultTargets(modelType: string): string | readonly string[] | undefined {
  return Object.hasOwn(TABLE, modelType) ? TABLE[modelType] : undefined;
}

/** The keys of a PEFT configuration that say which modules are adapted. Empty lists say nothing. */
export interface TargetRules {
  /** `target_modules`: a regular expression or `all-linear`, names, or null: the defaults of the architecture. */
  readonly modules: string | readonly string[] | null;
  /** `exclude_modules` (PEFT's RandLoRA has it not; its siblings do). */
  readonly exclude: string | readonly string[];
  readonly modulesToSave: readonly string[];
  /** `layers_to_transform`. */
  readonly layers: readonly number[];
  readonly layersPattern: readonly string[];
  /** `target_parameters`: weights that are meant beside those modules, by the ends of their paths (PEFT's LoRA has it). */
  readonly parameters?: readonly string[];
  /** The file that says so, for messages; the command line has none. */
  readonly file?: string;
}

const ALL_LINEAR = "all-linear";

/**
 * What `--targets` means: only letters, digits and `_ . , -` is a list of names with commas between them; `all-linear`;
 * anything else is a regular expression (Python's) that must match the whole path.
 */
export function parseTargets(text: string): string | readonly string[] {
  if (text.toLowerCase() === ALL_LINEAR) return ALL_LINEAR;
  if (!/^[A-Za-z0-9_.,-]+$/.test(text)) return text;
  return text.split(",").filter((name) => name !== "");
}

/**
 * A test of module paths that decides as PEFT 0.21.2 does (tuners/tuners_utils.py: check_target_module_exists and
 * _maybe_include_all_linear_layers). The paths given to it must be those of linear layers. `modelType` (config.json's
 * `model_type`) chooses the default targets. Throws `RandloraError` "adapter" for a regular expression that cannot be
 * read, or when no targets are given and none are known.
 */
export function targetMatcher(rules: TargetRules, modelType: string | undefined): (module: string) => boolean {
  const { parameters = [] } = rules;
  const hasModules = parameters.length === 0 || rules.modules !== null || defaultTargets(modelType ?? "") !== undefined;
  const matches = hasModules ? moduleMatcher(rules, modelType) : () => false;
  return (module) => matches(module) || isTargetParameter(`${module}.weight`, parameters);
}

function moduleMatcher(rules: TargetRules, modelType: string | undefined): (module: string) => boolean {
  const excluded = exclusion(rules);
  const targets = rules.modules ?? defaultsFor(modelType);
  if (typeof targets !== "string") {
    const inLayers = layerFilter(rules);
    const names = new Set(targets);
    // The layers are asked only of names that match from the end: a whole path names its layer itself.
    return (module) => !excluded(module) && (names.has(module) || (endsWithOneOf(module, names) && inLayers(module)));
  }
  if (targets.toLowerCase() === ALL_LINEAR) {
    const isOther = (module: string) =>
      isEmbedding(module) || isOutputEmbedding(module) || isRouter(module) || isOfExpert(module);
    return (module) => !excluded(module) && !isOther(module);
  }
  const pattern = new PythonRegex(targets, rules.file);
  return (module) => !excluded(module) && pattern.fullmatch(module) !== undefined;
}

/** Modules that are never adapted: excluded ones, and those that are saved whole, with everything below them. */
function exclusion({ exclude, modulesToSave, file }: TargetRules): (module: string) => boolean {
  // PEFT puts the names into a pattern as they are: a dot in one matches any character.
  const saved = modulesToSave.map((name) => new PythonRegex(String.raw`(^|.*\.)${name}($|\..*)`, file));
  const isSaved = (module: string) => saved.some((pattern) => pattern.match(module) !== undefined);
  if (exclude.length === 0) return isSaved;
  if (typeof exclude === "string") {
    const pattern = new PythonRegex(exclude, file);
    return (module) => pattern.fullmatch(module) !== undefined || isSaved(module);
  }
  const names = new Set(exclude);
  return (module) => names.has(module) || endsWithOneOf(module, names) || isSaved(module);
}

/** Whether `layers_to_transform` lets a module be adapted; a path without a layer's index is never let. */
function layerFilter({ layers, layersPattern, file }: TargetRules): (module: string) => boolean {
  if (layers.length === 0) return () => true;
  const wanted = new Set(layers);
  // PEFT's own patterns. Without a name it needs two segments before the number, so `h.0.attn` has no index.
  const sources =
    layersPattern.length === 0
      ? [String.raw`.*?\.[^.]*\.(?P<idx>\d+)\.`]
      : layersPattern.map((name) => String.raw`(?:^|.*?\.)${name}\.(?P<idx>\d+)\.`);
  const patterns = sources.map((source) => new PythonRegex(source, file));
  return (module) => {
    for (const pattern of patterns) {
      const index = pattern.match(module)?.group("idx");
      if (index !== undefined) return wanted.has(Number(index));
    }
    return false;
  };
}

/** Experts beside an MLP whose matrices have the same names are parameters in transformers: names that do not say `experts` mean the MLP's. */
function endsWithOneOf(module: string, names: ReadonlySet<string>): boolean {
  const last = besideMlp(module) ?? module.length;
  for (let dot = module.indexOf("."); dot >= 0 && dot <= last; dot = module.indexOf(".", dot + 1)) {
    if (names.has(module.slice(dot + 1))) return true;
  }
  return false;
}

function defaultsFor(modelType: string | undefined): string | readonly string[] {
  const found = modelType === undefined ? undefined : defaultTargets(modelType);
  if (found !== undefined) return found;
  const model = modelType === undefined ? "a model without config.json" : `model type ${quote(modelType)}`;
  throw new RandloraError(
    "adapter",
    `no default targets are known for ${model}`,
    "name the modules to adapt: --targets",
  );
}

/** One adapted weight: ΔW is (out, in), or (in, out) where `conv1d`. */
export interface AdaptedLayer extends BaseWeight {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
  /** The weight is stored (in, out), so ΔW is transposed before it is added. */
  readonly conv1d: boolean;
}

/** Throws `RandloraError` "adapter" for a base whose config.json says that it is quantized, otherwise than packed.ts reads. */
export function requireUnquantized(base: BaseModel): void {
  const settings = base.config?.["quantization_config"];
  if (settings === undefined || settings === null || isPacked(base.config ?? {})) return;
  const cause = "the base is quantized (config.json has quantization_config)";
  throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, UNQUANTIZED);
}

/**
 * Refuses an adapter that holds a module which its own settings do not mean: PEFT would leave it out, or raise "Target
 * modules not found". Settings that name none, on a model of no known type, say nothing.
 * Throws `RandloraError` "adapter", also for an expression that cannot be read.
 */
export function requireTargeted(
  adapter: Adapter,
  targets: TargetRules,
  modules: readonly string[],
  base: BaseModel,
): void {
  const modelType = modelTypeOf(base);
  if (targets.modules === null && defaultTargets(modelType ?? "") === undefined) return;
  const matches = targetMatcher(targets, modelType);
  const stray = modules.filter((module) => !matches(module));
  const [first] = stray;
  if (first === undefined) return;
  const cause =
    stray.length < modules.length
      ? `it holds ${quote(first)}, which target_modules does not match`
      : `target_modules matches none of its modules, such as ${quote(first)}`;
  const hint = "its settings and its weights do not belong together: take both from one save";
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, hint);
}

/** Finds the weight of an adapted module. Throws `RandloraError` "adapter" when it is missing, or no matrix of floats. */
export function adaptedLayer(
  module: string,
  adapter: Adapter,
  base: BaseModel,
  shift: PathShift,
  fanInFanOut: boolean,
): AdaptedLayer {
  const weight = findWeight(module, shift, base, adapter.path);
  if (!isFloat(weight.dtype) || !isWritableFloat(weight.dtype)) {
    const cause = `tensor ${quote(weight.source)} is ${weight.dtype}: quantized weights cannot be adapted`;
    throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, "use the original, unquantized model");
  }
  const conv1d = isConv1d(weight.tensor.replace(/\.weight$/, ""), base, fanInFanOut);
  const [first = 0, second = 0] = weight.shape;
  const [out, input] = conv1d ? [second, first] : [first, second];
  return { ...weight, module, out, in: input, conv1d };
}

/** The layer that a module's or a tensor's name says. */
export function layerOf(name: string): number | undefined {
  const [, index] = /(?:^|\.)(\d{1,9})(?:\.|$)/.exec(name) ?? [];
  return index === undefined ? undefined : Number(index);
}
