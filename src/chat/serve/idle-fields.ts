const isEmpty = (value: unknown): boolean =>
  value === "" || (typeof value === "object" && Object.keys(value ?? {}).length === 0);
const always = (): boolean => true;
const is =
  (...idle: readonly unknown[]) =>
  (value: unknown): boolean =>
    idle.includes(value);

type Test = (value: unknown) => boolean;

/** Of other samplers than ours, by the names that llama.cpp and Ollama share: off. */
const SAMPLERS: readonly (readonly [name: string, isIdle: Test])[] = [
  ["mirostat", is(0)],
  ["mirostat_tau", always],
  ["mirostat_eta", always],
  ["tfs_z", is(1)],
  ["typical_p", is(1)],
  ["penalize_newline", always],
];

/** Fields that may be there, each with the values that do not change the answer: what clients send without being told to. */
export const IDLE_FIELDS: ReadonlyMap<string, Test> = new Map([
  // What OpenAI's API keeps, bills or caches by.
  ["metadata", always],
  ["store", always],
  ["service_tier", always],
  ["safety_identifier", always],
  ["prompt_cache_key", always],
  ["prompt_cache_retention", always],
  ["best_of", is(1)],
  ["suffix", isEmpty],
  ["functions", isEmpty],
  ["function_call", is("none", "auto")],
  ["verbosity", is("medium")],
  ["modalities", (value: unknown) => Array.isArray(value) && value.every((one) => one === "text")],
  // Names of llama.cpp and mlx-lm.
  ...SAMPLERS,
  ["cache_prompt", always],
  ["lora", isEmpty],
  ["adapters", isEmpty],
  ["n_probs", is(0)],
  ["n_keep", always],
  ["n_indent", is(0)],
  ["min_keep", is(0)],
  ["id_slot", is(-1)],
  ["t_max_predict_ms", is(0, -1)],
  ["return_tokens", is(false)],
  ["post_sampling_probs", is(false)],
  ["response_fields", isEmpty],
  ["dynatemp_range", is(0)],
  ["dynatemp_exponent", always],
  ["typ_p", is(1)],
  ["top_n_sigma", is(-1, 0)],
  ["xtc_probability", is(0)],
  ["xtc_threshold", always],
  ["dry_multiplier", is(0)],
  ["dry_base", always],
  ["dry_allowed_length", always],
  ["dry_penalty_last_n", always],
  ["dry_sequence_breakers", always],
  ["penalize_nl", always],
  // The order that llama.cpp's page names unasked: its own.
  ["samplers", is("edkypmxt")],
  ["reasoning_format", is("auto", "deepseek")],
  ["timings_per_token", always],
  ["return_progress", always],
  // Of vLLM.
  ["use_beam_search", is(false)],
  ["ignore_eos", is(false)],
  ["min_tokens", is(0)],
  ["stop_token_ids", isEmpty],
  ["documents", isEmpty],
  ["skip_special_tokens", is(true)],
  ["spaces_between_special_tokens", is(true)],
  ["include_stop_str_in_output", is(false)],
  ["include_reasoning", is(true)],
  ["length_penalty", is(1)],
  ["early_stopping", is(false)],
  ["priority", is(0)],
  // Of Ollama, where a prompt that is too long is refused instead of cut.
  ["logprobs", is(false)],
  ["top_logprobs", is(0)],
  ["raw", is(false)],
  ["template", isEmpty],
  ["images", isEmpty],
  ["context", isEmpty],
  ["truncate", always],
  ["shift", is(false)],
]);

/** The same of Ollama's `options`; how a model is loaded and computed with is the server's to say. */
export const IDLE_OPTIONS: ReadonlyMap<string, Test> = new Map([
  ...SAMPLERS,
  ...[
    "num_ctx",
    "num_keep",
    "num_batch",
    "num_gpu",
    "num_thread",
    "main_gpu",
    "low_vram",
    "f16_kv",
    "use_mmap",
    "use_mlock",
    "numa",
  ].map((name) => [name, always] as const),
  ["logits_all", is(false)],
  ["vocab_only", is(false)],
  ["embedding_only", is(false)],
]);
