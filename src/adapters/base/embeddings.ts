// Embeddings in the models of transformers: a checkpoint says nothing of them but their names.

/** Names of input embeddings, by their last segment: never linear layers. */
const EMBEDDINGS: ReadonlySet<string> = new Set([
  "embed_tokens",
  "embed_tokens_per_layer",
  "token_embedding",
  "position_embedding",
  "wte",
  "wpe",
  "word_embeddings",
  "position_embeddings",
  "token_type_embeddings",
  "embed_positions",
  "embed_in",
  "shared",
  "embeddings",
  "relative_attention_bias",
]);

/** Those of tokens: what an output embedding is tied to. */
const INPUT_EMBEDDING = /(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|shared)\.weight$/;

/** Names under which output embeddings are known (`get_output_embeddings` in transformers). */
const OUTPUT_EMBEDDINGS: ReadonlySet<string> = new Set(["lm_head", "embed_out", "output_projection"]);

/** Classes, by config.json's `architectures`, and their output embedding: the first that fits holds. */
const HEADS: readonly (readonly [architecture: RegExp, module: string])[] = [
  [/^GPTNeoXForCausalLM$/, "embed_out"],
  [/^(?:Roberta|XLMRoberta|XLMRobertaXL|Camembert)For(?:CausalLM|MaskedLM)$/, "lm_head.decoder"],
  [/^Bert(?:LMHeadModel|ForMaskedLM|ForPreTraining)$/, "cls.predictions.decoder"],
  [/(?:ForCausalLM|LMHeadModel)$/, "lm_head"],
  [/^(?:Gemma3|Gemma4|Mistral3|Qwen3_5(?:Moe)?|Qwen(?:2|2_5_|3)VL)ForConditionalGeneration$/, "lm_head"],
];

/** The last segment of a dotted path. */
export function lastSegment(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

/** Is this module an embedding, by its name? */
export function isEmbedding(module: string): boolean {
  return EMBEDDINGS.has(lastSegment(module));
}

/** Is this tensor the embedding of a model's tokens, by its name? */
export function isInputEmbedding(tensor: string): boolean {
  return INPUT_EMBEDDING.test(tensor);
}

/** Is this module the output embedding of a language model, by its name? */
export function isOutputEmbedding(module: string): boolean {
  // BERT's and RoBERTa's heads are small networks; the embedding is their last layer.
  return OUTPUT_EMBEDDINGS.has(lastSegment(module)) || /(?:^|\.)(?:cls\.predictions|lm_head)\.decoder$/.test(module);
}

/**
 * The output embedding of the class that a config.json names: where it is tied the checkpoint does not hold it.
 * `undefined` for a class without one, and for classes that are not known.
 */
export function outputEmbeddingOf(config: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const architectures = config?.["architectures"];
  const name: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  return typeof name === "string" ? HEADS.find(([architecture]) => architecture.test(name))?.[1] : undefined;
}
