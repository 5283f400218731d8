import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { TrainedTensors } from "../method/fit.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import {
  biasKey,
  dropoutShare,
  finiteNumber,
  flag,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  matchedPattern,
  parseSettings,
  type Pattern,
  positiveInteger,
  readPattern,
  textList,
} from "../base/config-keys.ts";
import { isTargetParameter } from "../base/experts.ts";
import type { WrittenSettings } from "../files/adapter.ts";

type Config = Readonly<Record<string, unknown>>;

interface Refusal {
  readonly cause: string;
  readonly hint: string;
}

const MERGE_IN_PEFT = "merge it with PEFT: model.merge_and_unload()";

/** Settings with which ΔW is something else than scale · B·A of linear layers (peft/tuners/lora/config.py, 0.21.2), DoRA's apart. */
const UNSUPPORTED: Readonly<Record<string, Refusal>> = {
  lora_bias: { cause: "B has a bias of its own, which is added to the module's", hint: MERGE_IN_PEFT },
  trainable_token_indices: { cause: "it trains rows of an embedding", hint: MERGE_IN_PEFT },
  use_qalora: { cause: "QALoRA pools the inputs of a quantized base", hint: "use it with that base" },
  monteclora_config: { cause: "its ΔW is drawn anew in every step", hint: "train a plain LoRA" },
  velora_config: { cause: "VeLoRA saves vectors of its own beside A and B", hint: MERGE_IN_PEFT },
  use_bdlora: { cause: "its factors are block-diagonal", hint: MERGE_IN_PEFT },
  kasa_config: { cause: "KaSA changes the base's own weights before training", hint: MERGE_IN_PEFT },
  alora_invocation_tokens: { cause: "aLoRA acts after certain tokens only, so it is no ΔW", hint: "use it with PEFT" },
  arrow_config: { cause: "it chooses among several adapters, token by token", hint: "use it with PEFT" },
  layer_replication: {
    cause: "it repeats the base's layers",
    hint: "merge it with PEFT, or train on the longer model",
  },
  megatron_config: { cause: "it is made for Megatron's split layers", hint: "save it for transformers' model" },
};

/** Ways to begin that leave the base's weights as they are: EVA and MiCA choose A or B by data or W, and save both. */
const PLAIN_STARTS: ReadonlySet<unknown> = new Set([
  undefined,
  null,
  true,
  false,
  "gaussian",
  "orthogonal",
  "eva",
  "mica",
]);
/** PEFT's other keys (0.21.2): of where a file comes from, and of how A and B began. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "peft_type",
  "peft_version",
  "revision",
  "inference_mode",
  "init_lora_weights",
  "loftq_config",
  "eva_config",
  "corda_config",
  "lora_ga_config",
  "qalora_group_size",
  "megatron_core",
  "runtime_config",
]);
/** Ways to begin that take something out of the base's weights: what was trained is not on top of the original. */
const CHANGED_BASE = /^(?:pissa(?:_niter_\d+)?|olora|corda|loftq|lora_ga)$/i;
const CONVERT = "save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it";

/**
 * Refuses what is no plain LoRA: known variants, and keys of others that are not `read`. `file` is named in errors.
 * Throws `RandloraError` "adapter" with the setting, the reason, and what to do instead.
 */
function refuseVariants(config: Config, read: object, file: string): void {
  for (const [key, { cause, hint }] of Object.entries(UNSUPPORTED)) {
    if (isAsked(config[key])) throw refusal(file, `${quote(key)} is set: ${cause}`, hint);
  }
  const unknown = Object.keys(config).find(
    (key) => !Object.hasOwn(read, key) && !WITHOUT_EFFECT.has(key) && isAsked(config[key]),
  );
  if (unknown !== undefined) {
    const cause = `${quote(unknown)} is set, which may change what A and B mean and is not known here`;
    throw refusal(file, cause, `${MERGE_IN_PEFT}, or take the key out if it says nothing of them`);
  }
  const start = config["init_lora_weights"];
  if (PLAIN_STARTS.has(start)) return;
  const shown = typeof start === "string" ? quote(start) : JSON.stringify(start);
  if (typeof start === "string" && CHANGED_BASE.test(start)) {
    const cause = `"init_lora_weights" is ${shown}: the base's own weights were changed before training`;
    throw refusal(file, cause, CONVERT);
  }
  const cause = `"init_lora_weights" is ${shown}, which is not known to leave the base's weights alone`;
  throw refusal(file, cause, MERGE_IN_PEFT);
}

/** Is a setting neither absent, false nor empty? */
function isAsked(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

function refusal(file: string, cause: string, hint: string): RandloraError {
  return new RandloraError("adapter", `${oneLine(file)}: ${cause}`, hint);
}

/** What LoRA trains of a module: A and B; of the matrices of all experts of a layer both together. */
export const LORA_TENSORS: TrainedTensors<LoraConfig, "a" | "b"> = {
  names: { a: "lora_A.weight", b: "lora_B.weight" },
  shapes(config, { module, out, in: input, experts = 1 }) {
    const { rank } = rankAndScale(config, module);
    return { a: [rank * experts, input], b: [out, rank * experts] };
  },
  meaning: "A is (r, in) and B (out, r), with r of each expert; rank_pattern names exceptions",
};

/** PEFT's LoraConfig, understood. Defaults are PEFT's. */
export interface LoraConfig extends LayerSettings {
  /** Rank, where no pattern says otherwise; see {@link rankAndScale}. */
  readonly r: number;
  readonly alpha: number;
  /** ΔW is scaled by α/√r instead of α/r. */
  readonly rslora: boolean;
  /** The rows of W + ΔW are rescaled to magnitudes of their own. */
  readonly dora: boolean;
  /** Exceptions, by a regular expression for the end of a module's path, in order: the first that matches holds. */
  readonly rankPattern: Pattern;
  readonly alphaPattern: Pattern;
  /** What replaces one of a tied pair of embeddings replaces the other, too (PEFT ≥ 0.18). */
  readonly tied: boolean;
}

const SCHEMA = v.object({
  r: v.optional(positiveInteger, 8),
  lora_alpha: v.optional(finiteNumber, 8),
  use_rslora: flag,
  use_dora: flag,
  rank_pattern: v.optional(v.unknown()),
  alpha_pattern: v.optional(v.unknown()),
  lora_dropout: dropoutShare,
  bias: biasKey("lora_only"),
  ensure_weight_tying: flag,
  ...LAYER_KEYS,
  target_parameters: v.nullish(textList),
});

/** The keys of a plain LoRA's configuration that are LoRA's own, as PEFT writes them. */
export function plainLoraKeys(own: {
  readonly r: number;
  readonly lora_alpha: number;
  readonly lora_dropout?: number;
  readonly use_rslora?: boolean;
  readonly bias?: string;
  readonly rank_pattern?: JsonObject;
  readonly alpha_pattern?: JsonObject;
}): JsonObject {
  return {
    alpha_pattern: {},
    auto_mapping: null,
    bias: "none",
    init_lora_weights: true,
    lora_dropout: 0,
    peft_type: "LORA",
    rank_pattern: {},
    use_dora: false,
    use_rslora: false,
    ...own,
  };
}

/**
 * Reads PEFT's settings for LoRA (peft/tuners/lora/config.py).
 * Throws `RandloraError` "format" for a value that makes no sense, "adapter" for a variant that is neither plain nor DoRA.
 */
export function loraConfig({ settings, configFile: file }: WrittenSettings): LoraConfig {
  refuseVariants(settings, SCHEMA.entries, file);
  const read = parseSettings(SCHEMA, settings, file);
  const parameters = read.target_parameters ?? [];
  if (read.use_dora && parameters.length > 0) {
    const cause = `"use_dora" is set, and "target_parameters" as well, which PEFT does not apply`;
    throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, "adapt parameters with a plain LoRA");
  }
  const layers = layerSettings(read, file);
  return {
    r: read.r,
    alpha: read.lora_alpha,
    rslora: read.use_rslora,
    dora: read.use_dora,
    rankPattern: readPattern(settings, "rank_pattern", positiveInteger, file),
    alphaPattern: readPattern(settings, "alpha_pattern", finiteNumber, file),
    tied: read.ensure_weight_tying,
    ...layers,
    targets: { ...layers.targets, parameters },
  };
}

/** Rank and scale of one module, or of a parameter, by its path in the base model (PEFT's get_pattern_key, utils/other.py). */
export function rankAndScale(config: LoraConfig, module: string): { readonly rank: number; readonly scale: number } {
  const path = patternPath(config.targets.parameters ?? [], module);
  const rank = matchedPattern(config.rankPattern, path) ?? config.r;
  const alpha = matchedPattern(config.alphaPattern, path) ?? config.alpha;
  return { rank, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) };
}

/** Do `target_parameters` mean parameters of all experts of a layer? Others are the weights of modules: routers. */
export function adaptsExperts({ targets: { parameters = [] } }: LoraConfig): boolean {
  return parameters.some((parameter) => !/(?:^|\.)weight$/.test(parameter));
}

/** What patterns are held to: the path of a module, or of its weight where `target_parameters` mean that (a router). */
export function patternPath(parameters: readonly string[], module: string): string {
  const weight = `${module}.weight`;
  return isTargetParameter(weight, parameters) ? weight : module;
}
