import * as v from "valibot";
import { brief } from "../../files/failure.ts";

/** May be missing; clients also send `null` for what they do not mean to say. */
export const optional = <S extends v.GenericSchema>(schema: S) => v.nullish(schema, () => undefined);

export const UNSUPPORTED = "not supported by this server";

/** A key that clients send and that changes no answer. */
export const IGNORED = v.optional(v.unknown());

/** An object within a body: a key that is not among `entries` is refused, as fields of the body are, unless it is null. */
export function nested<const E extends v.ObjectEntries>(entries: E) {
  return v.objectWithRest(entries, v.null(UNSUPPORTED));
}

const TEXT = nested({
  type: v.string(),
  text: optional(v.unknown()),
  annotations: IGNORED,
  logprobs: IGNORED,
  parsed: IGNORED,
  cache_control: IGNORED,
});
const OTHER = v.looseObject({ type: v.string() });

/** One that is no text is refused later, by its type. */
const PART = v.lazy((part) =>
  typeof part === "object" && part !== null && "type" in part && String(part.type).endsWith("text") ? TEXT : OTHER,
);
const PARTS = v.array(PART);
const STRING_OR_LIST = v.union([v.string(), PARTS]);

/** The content of a message: a text, or parts. What is wrong with a part is said of it, not of all. */
export const CONTENT = v.lazy((content) => (Array.isArray(content) ? PARTS : STRING_OR_LIST));

const KINDS: ReadonlyMap<string, string> = new Map([
  ["string", "a string"],
  ["number", "a number"],
  ["boolean", "true or false"],
  ["Array", "a list"],
  ["Object", "an object"],
]);

/** What a schema found wrong with a field, as a sentence that goes on from the field's name. */
export function issueInWords(issue: v.BaseIssue<unknown>): string {
  const { kind, type, expected, received, requirement, message } = issue;
  if (received === "undefined") return "is missing";
  // A message of the schema's own.
  if (!message.startsWith("Invalid ")) return message;
  // What was sent may be long.
  const sent = brief(KINDS.get(received) ?? received);
  if (kind === "schema") return `must be ${wordsOf(expected ?? "")}, not ${sent}`;
  if (type === "min_value") return `must be at least ${requirement}, not ${sent}`;
  if (type === "max_value") return `must be at most ${requirement}, not ${sent}`;
  if (type === "gt_value") return `must be more than ${requirement}, not ${sent}`;
  if (type === "max_length") return `has ${sent} items, and ${requirement} are allowed`;
  if (type === "finite") return `must be a finite number, not ${sent}`;
  return `must be a whole number, not ${sent}`;
}

/** `("user" | "system")` → `"user" or "system"`. */
function wordsOf(expected: string): string {
  const parts = expected.replace(/^\((.*)\)$/, "$1").split(" | ");
  const words = parts.map((part) => KINDS.get(part) ?? part);
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

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
