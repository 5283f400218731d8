const isEmpty = (value: unknown): boolean =>
  value === "" || (typeof value === "object" && Object.keys(value ?? {}).length === 0);
const always = (): boolean => true;
const is =
  (...idle: readonly unknown[]) =>
  (value: unknown): boolean =>
    idle.includes(value);

type Test = (value: unknown) => boolean;
type Field = readonly [name: string, isIdle: Test];
const ignored = (...names: readonly string[]): readonly Field[] => names.map((name) => [name, always]);

/** Of other samplers than ours, by the names that llama.cpp and Ollama share: off. */
const SAMPLERS: readonly Field[] = [
  ["mirostat", is(0)],
  ["mirostat_tau", always],
  ["mirostat_eta", always],
  ["tfs_z", is(1)],
  ["typical_p", is(1)],
  ["penalize_newline", always],
];

const LETTERS = new Map(Object.entries({ penalties: "e", top_k: "k", top_p: "p", min_p: "m", temperature: "t" }));
const OFF: ReadonlySet<unknown> = new Set(["dry", "top_n_sigma", "typ_p", "typical_p", "xtc"]);

/** llama.cpp's own order of samplers, as names or letters, which its page sends unasked; those that are off here do not count. */
function isUsualOrder(value: unknown): boolean {
  const letters = Array.isArray(value)
    ? value.map((name) => (OFF.has(name) ? "" : (LETTERS.get(name) ?? "?"))).join("")
    : typeof value === "string" && value.replace(/[dsyx]/g, "");
  return letters === "ekpmt";
}

/** Fields that may be there, each with the values that do not change the answer: what clients send without being told to. */
export const IDLE_FIELDS: ReadonlyMap<string, Test> = new Map<string, Test>([
  // What OpenAI's API keeps, bills or caches by.
  ...ignored("metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
  // Codex's name of it.
  ...ignored("client_metadata"),
  ["best_of", is(1)],
  ["suffix", isEmpty],
  ["functions", isEmpty],
  ["function_call", is("none", "auto")],
  ["verbosity", is("medium")],
  ["modalities", (value: unknown) => Array.isArray(value) && value.every((one) => one === "text")],
  // Names of llama.cpp and mlx-lm.
  ...SAMPLERS,
  ...ignored("cache_prompt", "n_keep", "penalize_nl", "timings_per_token", "return_progress", "dynatemp_exponent"),
  ...ignored("xtc_threshold", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
  ["lora", isEmpty],
  ["adapters", isEmpty],
  ["n_probs", is(0)],
  ["n_indent", is(0)],
  ["min_keep", is(0)],
  ["id_slot", is(-1)],
  ["t_max_predict_ms", is(0, -1)],
  ["return_tokens", is(false)],
  ["post_sampling_probs", is(false)],
  ["response_fields", isEmpty],
  ["dynatemp_range", is(0)],
  ["typ_p", is(1)],
  ["top_n_sigma", is(-1, 0)],
  ["xtc_probability", is(0)],
  ["dry_multiplier", is(0)],
  ["samplers", isUsualOrder],
  ["backend_sampling", is(false)],
  ["reasoning_format", is("auto", "deepseek")],
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
  // Clients say it where Ollama has no such field.
  ["tool_choice", is("auto")],
  ["raw", is(false)],
  ["template", isEmpty],
  ["images", isEmpty],
  ["context", isEmpty],
  ["truncate", always],
  ["shift", is(false)],
]);

/** The same of Ollama's `options`; how a model is loaded and computed with is the server's to say. */
export const IDLE_OPTIONS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ...SAMPLERS,
  ...ignored("num_ctx", "num_keep", "num_batch", "num_gpu", "num_thread", "main_gpu"),
  ...ignored("low_vram", "f16_kv", "use_mmap", "use_mlock", "numa"),
  ["logits_all", is(false)],
  ["vocab_only", is(false)],
  ["embedding_only", is(false)],
]);
