import { version } from "../../../package.json";
import type { ApiParts } from "./api-parts.ts";
import { defaultSampling, type RequestDefaults } from "./fields.ts";

/** Answers `GET /props` as llama.cpp does, as far as there is something to say; of paths on this machine nothing. */
export function propsResponse({ model, models, engine, prompts, defaults }: ApiParts): Response {
  const { template, tokenizer } = model;
  const params = { ...namedSampling(defaults), n_predict: defaults.maxTokens ?? -1 };
  return Response.json({
    default_generation_settings: { n_ctx: prompts.context, params },
    total_slots: engine.slots.length,
    model_alias: models.preferred,
    model_path: models.preferred,
    modalities: { vision: false, audio: false },
    chat_template: template?.source ?? "",
    ...(template?.toolUse && { chat_template_tool_use: template.toolUse.source }),
    bos_token: tokenizer.bos?.text ?? "",
    eos_token: tokenizer.eos?.text ?? "",
    build_info: `randlora ${version}`,
  });
}

/** How texts are sampled where a request says nothing, by llama.cpp's and Ollama's names. */
export function namedSampling(defaults: RequestDefaults) {
  const { temperature, topK, topP, minP, repeatPenalty } = defaultSampling(defaults);
  return { temperature, top_k: topK, top_p: topP, min_p: minP, repeat_penalty: repeatPenalty };
}
