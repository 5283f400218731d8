import { version } from "../../../package.json";
import type { ApiParts } from "./api-parts.ts";
import { defaultSampling, type RequestDefaults } from "./fields.ts";
import type { Progress } from "../generation/decode-loop.ts";
import { ApiError } from "./api-error.ts";

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

interface SlotsParts {
  /** `--slots`. */
  readonly slots: boolean;
  readonly engine: { readonly slots: readonly (Progress | undefined)[] };
  readonly prompts: { readonly context: number };
}

/**
 * Answers `GET /slots` as llama.cpp does; with `fail_on_no_slot` in the address the status is 503 where none is free.
 * @throws ApiError 501 unless `--slots` is given, in llama.cpp's words
 */
export function slotsResponse({ slots: isOn, engine: { slots }, prompts }: SlotsParts, { url }: Request): Response {
  if (!isOn) {
    const message = "This server does not support slots endpoint. Start it with `--slots`";
    throw new ApiError(501, message, { code: "not_supported_error" });
  }
  const mayFail = URL.parse(url, "http://localhost")?.searchParams.has("fail_on_no_slot") === true;
  const isFull = slots.every((slot) => slot !== undefined);
  return Response.json(slotsOf(slots, prompts.context), { status: isFull && mayFail ? 503 : 200 });
}

/**
 * What llama.cpp's `/slots` says, without texts, sampling, and what was in the KV cache before: those are of whoever asked.
 * @param slots how far the text of each has come; undefined: it is free
 * @param context positions that each may have
 */
function slotsOf(slots: readonly (Progress | undefined)[], context: number): readonly object[] {
  return slots.map((progress, id) => {
    const slot = { id, n_ctx: context, speculative: false, is_processing: progress !== undefined };
    if (progress === undefined) return slot;
    const { number, prompt, computed, written, left } = progress;
    return {
      ...slot,
      id_task: number,
      n_prompt_tokens: prompt,
      n_prompt_tokens_processed: computed,
      next_token: [{ has_next_token: left > 0, n_remain: left, n_decoded: written }],
    };
  });
}
