/**
 * What the server answers, by method and path; docs/interface/commands.md shows this table. Paths below `/v1` are answered without
 * the version as well, as llama.cpp and mlx-lm do.
 */
export const ENDPOINTS = {
  "GET /": "chat page; keeps chats in the browser",
  "GET /health": '{"status":"ok"}, or 503 if the device failed; needs no key',
  "GET /v1/models": "OpenAI: models, with parent, max_model_len, pooling, default",
  "GET /v1/models/NAME": "OpenAI: one of them",
  "POST /v1/chat/completions": "OpenAI: chat; streams on request",
  "POST /v1/responses": "OpenAI: responses; nothing is stored",
  "POST /v1/completions": "OpenAI: text completion",
  "POST /v1/embeddings": "OpenAI: vectors of norm 1",
  "POST /v1/load_lora_adapter": "vLLM: lora_name, lora_path in --adapter-dir; needs --api-key's key",
  "POST /v1/unload_lora_adapter": "vLLM: lora_name; read anew when requested again",
  "POST /v1/tokenize": "llama.cpp: content, add_special (false), parse_special (true), with_pieces (false)",
  "POST /v1/detokenize": "llama.cpp: tokens",
  "POST /v1/apply-template": "llama.cpp: a chat as the model's prompt",
  "GET /v1/props": "llama.cpp: default settings, slots, chat template",
  "GET /v1/slots": "llama.cpp: tokens of each slot, with --slots; ?fail_on_no_slot=1: 503 if none is free",
  "GET /v1/metrics": "Prometheus: answers by status, tokens, seconds",
  "POST /api/chat": "Ollama: chat; streams unless told not to",
  "POST /api/generate": "Ollama: text completion",
  "POST /api/embed": "Ollama: vectors of a text or a list",
  "POST /api/embeddings": "Ollama: vector of one prompt",
  "GET /api/tags": "Ollama: models and adapters",
  "GET /api/ps": "Ollama: loaded models",
  "POST /api/show": "Ollama: template, parameters, capabilities",
  "GET /api/version": "Ollama: this program's version",
} as const;

/** A method and a path. */
export type EndpointName = keyof typeof ENDPOINTS;

/** What answers, by path and method. */
export function routesOf<T>(
  endpoints: Readonly<Partial<Record<EndpointName, T>>>,
): ReadonlyMap<string, Readonly<Record<string, T>>> {
  const named = Object.entries(endpoints).map(([name, endpoint]) => ({ parts: name.split(" "), endpoint }));
  const byPath = Map.groupBy(named, ({ parts: [, path = ""] }) => path);
  return new Map(
    [...byPath].map(([path, all]) => [
      path,
      Object.fromEntries(all.map(({ parts: [method = ""], endpoint }) => [method, endpoint])),
    ]),
  );
}
