import { join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import { ConfigJson, readConfigOf } from "../config-file.ts";
import { checkConfig, type DecoderConfig } from "../config.ts";
import type { Architecture } from "./common.ts";
import { cohere, cohere2, gpt2, gptNeox, phi, phi3, starcoder2 } from "./layer-norm.ts";
import { exaone4, olmo2, olmo3, olmoe } from "./olmo.ts";
import { gemma, gemma2, gemma3Text } from "./gemma.ts";
import { gemma4Text } from "./gemma4.ts";
import { gemma3, gemma4, mistral3, qwen25Vl, qwen2Vl, qwen35, qwen35Moe, qwen3Vl, qwen3VlMoe } from "./multimodal.ts";
import { glm4, glm4Moe } from "./glm4.ts";
import { gptOss } from "./gpt-oss.ts";
import {
  granite,
  granitemoe,
  granitemoehybrid,
  llama,
  ministral,
  ministral3,
  mistral,
  mixtral,
  seedOss,
  smollm3,
} from "./llama.ts";
import { lfm2, lfm2Moe } from "./lfm2.ts";
import { qwen2, qwen2Moe, qwen3, qwen35MoeText, qwen35Text, qwen3Moe, qwen3Next } from "./qwen.ts";

/** A new architecture is a file here and an entry of this list. */
export const ARCHITECTURES: readonly Architecture[] = [
  llama,
  mistral,
  ministral,
  ministral3,
  mistral3,
  qwen2,
  qwen2Vl,
  qwen25Vl,
  qwen3,
  qwen3Vl,
  qwen3VlMoe,
  phi,
  phi3,
  gemma,
  gemma2,
  gemma3Text,
  gemma3,
  gemma4Text,
  gemma4,
  olmo2,
  olmo3,
  smollm3,
  exaone4,
  seedOss,
  granite,
  granitemoehybrid,
  starcoder2,
  gpt2,
  gptNeox,
  glm4,
  glm4Moe,
  cohere,
  cohere2,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  granitemoe,
  gptOss,
  lfm2,
  lfm2Moe,
  qwen35Text,
  qwen35,
  qwen35MoeText,
  qwen35Moe,
  qwen3Next,
];

/** `model_type`s that can be run. */
export const SUPPORTED_TYPES: readonly string[] = ARCHITECTURES.map(({ type }) => type);

/** The architecture of this `model_type`; undefined: it cannot be run. */
export function architectureOf(type: string): Architecture | undefined {
  return ARCHITECTURES.find((architecture) => architecture.type === type);
}

/** The modules of such a model that are adapted where nobody says; undefined: it cannot be run. */
export function targetsOf(type: string): readonly string[] | undefined {
  const architecture = architectureOf(type);
  return architecture && (architecture.targets ?? ["q_proj", "v_proj"]);
}

/**
 * What a model folder's config.json says, with the architecture's own values where it is silent.
 * @throws RandloraError `file`, `format`, or `model` for what cannot be run
 */
export async function loadConfig(folder: string): Promise<DecoderConfig> {
  return (await loadConfigs(folder)).config;
}

/** The same with the file's own settings beside it, for whoever writes them in another format. */
export async function loadConfigs(folder: string): Promise<{ config: DecoderConfig; json: ConfigJson }> {
  const json = await readConfigOf(folder, SUPPORTED_TYPES, ConfigJson, (type, settings) => {
    return architectureOf(type)?.settings?.(settings) ?? settings;
  });
  const architecture = architectureOf(json.model_type);
  if (architecture === undefined) throw new Error(`${json.model_type}: supported, but not there`);
  const path = join(folder, "config.json");
  return { config: checkConfig(describe(architecture, json, path), path), json };
}

function describe(architecture: Architecture, json: ConfigJson, path: string): DecoderConfig {
  const types = json.layer_types?.length ?? Infinity;
  if (types < json.num_hidden_layers) {
    const cause = `${oneLine(path)}: layer_types has ${types} of ${json.num_hidden_layers} layers`;
    throw new RandloraError("model", cause, "config.json is another model's, or was cut: fetch it again");
  }
  try {
    return architecture.describe(json);
  } catch (cause) {
    if (!(cause instanceof RandloraError)) throw cause;
    const hint = cause.hint || "`randlora models` lists what can be run";
    throw new RandloraError(cause.code, `${oneLine(path)}: ${cause.message}`, hint, { cause });
  }
}
