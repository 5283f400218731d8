import type { Pooling } from "../generation/embedding.ts";
import { type Assignment, toApiError } from "./answer.ts";
import { badField } from "./api-error.ts";
import type { Engine } from "./engine.ts";
import type { EmbeddingShape } from "./shapes/embeddings.ts";
import type { EmbeddingTexts } from "./understand.ts";

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
