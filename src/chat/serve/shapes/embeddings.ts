/** Vectors of a request's inputs, in their order, and what they took. */
export interface Embedded {
  readonly model: string;
  readonly vectors: readonly Float32Array[];
  /** Of all inputs. */
  readonly tokens: number;
  readonly seconds: number;
  readonly encoding: "float" | "base64";
}

/** How an endpoint words embeddings. */
export type EmbeddingShape = (embedded: Embedded) => object;

/** OpenAI's `/v1/embeddings`. */
export function openaiEmbeddings({ model, vectors, tokens, encoding }: Embedded): object {
  const data = vectors.map((vector, index) => ({ object: "embedding", index, embedding: encoded(vector, encoding) }));
  return { object: "list", data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}

/** Ollama's `/api/embed`; times in nanoseconds. */
export function ollamaEmbeddings({ model, vectors, tokens, seconds }: Embedded): object {
  const embeddings = vectors.map((vector) => [...vector]);
  const total = Math.round(seconds * 1e9);
  return { model, embeddings, total_duration: total, load_duration: 0, prompt_eval_count: tokens };
}

/** Ollama's older `/api/embeddings`, of one text. */
export function ollamaEmbedding({ vectors: [vector = new Float32Array()] }: Embedded): object {
  return { embedding: [...vector] };
}

/** As numbers or as the base64 of their bytes, lowest first. */
function encoded(vector: Float32Array, encoding: Embedded["encoding"]): readonly number[] | string {
  if (encoding === "float") return [...vector];
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [at, value] of vector.entries()) bytes.setFloat32(4 * at, value, true);
  return Buffer.from(bytes.buffer).toString("base64");
}
