import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";

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
export function refuseVariants(config: Config, read: object, file: string): void {
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
