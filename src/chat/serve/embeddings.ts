import type { Pooling } from "../generation/embedding.ts";
import { type Assignment, toApiError } from "./answer.ts";
import { badField } from "./api-error.ts";
import type { Engine } from "./engine.ts";
import type { EmbeddingTexts } from "./understand.ts";

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

/** Texts to embed, as token ids. */
export interface EmbeddingAssignment extends Omit<Assignment, "request" | "prompts" | "shape"> {
  readonly request: EmbeddingTexts;
  readonly pooling: Pooling;
  /** Numbers of an embedding: what a model was not made for is not cut off. */
  readonly size: number;
  readonly shape: EmbeddingShape;
}

/**
 * Has texts read, one after the other, each with a turn of its own among all that wait, and answers in the endpoint's shape.
 * @throws ApiError 400 where vectors of another size are wanted; what `toApiError` makes of a failure
 */
export async function embed(engine: Engine, assignment: EmbeddingAssignment): Promise<Response> {
  const { request, client, model, context, pooling, size, shape, signal, onTokens, onUsage, onWritten } = assignment;
  const { ids: texts, encoding, dimensions = size } = request;
  if (dimensions !== size)
    throw badField("dimensions", `must be ${size}, which this model's embeddings have: it was not trained for fewer`);
  const start = performance.now();
  const vectors: Float32Array[] = [];
  let tokens = 0;
  try {
    for (const ids of texts) {
      const embedding = await engine.embed({ client, model, ids, options: { pooling, context, signal } });
      tokens += ids.length;
      onTokens(ids.length);
      vectors.push(Float32Array.from(embedding));
    }
  } catch (error) {
    throw toApiError(error, assignment.onFailure);
  }
  const seconds = (performance.now() - start) / 1000;
  const usage = { prompt_tokens: tokens, completion_tokens: 0, total_tokens: tokens };
  onUsage(
    { ...usage, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } },
    { llama: undefined, prefillSeconds: seconds, decodeSeconds: 0 },
  );
  onWritten();
  return Response.json(shape({ model: model.id, vectors, tokens, seconds, encoding }));
}
