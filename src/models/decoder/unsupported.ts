import { isJsonObject } from "../../files/json.ts";

/** What models of types that cannot be run need and nothing here does. */
const MISSING: readonly (readonly [what: string, types: RegExp])[] = [
  [
    "needs MLA (multi-head latent attention)",
    /^(?:deepseek_v[23]|deepseek_v32|kimi_k2\d?|glm4_moe_lite|glm_moe_dsa|longcat_flash|minicpm3|mistral4|mistral_large4|sarvam_mla|youtu)$/,
  ],
  ["needs Mamba layers", /^(?:mamba2?|falcon_mamba|falcon_h1|jamba|bamba|zamba2?|nemotron_h|plamo2?)$/],
  ["needs RWKV layers", /^rwkv/],
  ["needs lightning attention", /^minimax$/],
  ["needs attention in chunks", /^llama4/],
  ["needs attention to its encoder of images", /^mllama/],
  ["needs AltUp and LAuReL", /^gemma3n/],
  ["needs ALiBi", /^(?:bloom|mpt)$/],
  [
    "is an encoder and a decoder; models that only decode can be run",
    /^(?:m?t5|umt5|t5gemma2?|m?bart|pegasus|marian|m2m_100|whisper)$/,
  ],
  [
    "is an encoder; models that decode can be run",
    /^(?:(?:distil|modern|al)?bert|(?:xlm_)?roberta|xlm-roberta|deberta|deberta[-_]v2|electra)$/,
  ],
];

/** Why models of this `model_type` cannot be run, where it is known, behind the type. @param json all of config.json */
export function missingFor(type: string, json: Readonly<Record<string, unknown>>): string | undefined {
  const known = MISSING.find(([, types]) => types.test(type))?.[0];
  return known ?? (isJsonObject(json["auto_map"]) ? "needs Python code of its own (auto_map)" : undefined);
}
