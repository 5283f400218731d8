import type { Pooling } from "../generation/pooling.ts";
import { type Assignment, toApiError } from "./answer.ts";
import { badField } from "./api-error.ts";
import type { Engine } from "./engine.ts";
import type { EmbeddingTexts } from "./understand.ts";

/** Texts to embed, as token ids. */
export interface EmbeddingAssignment extends Omit<Assignment, "request" | "prompts" | "shape"> {
  readonly request: EmbeddingTexts;
  readonly pooling: Pooling;
  /** Numbers of an embedding: what a model was not made for is not cut off. */
  readonly size: number;
}

/**
 * Has texts read, one after the other, each with a turn of its own among all that wait, and answers in OpenAI's shape.
 * @throws ApiError 400 where vectors of another size are wanted; what `toApiError` makes of a failure
 */
export async function embed(engine: Engine, assignment: EmbeddingAssignment): Promise<Response> {
  const { request, client, model, context, pooling, size, signal, onTokens, onUsage, onWritten } = assignment;
  const { ids: texts, encoding, dimensions = size } = request;
  if (dimensions !== size)
    throw badField("dimensions", `must be ${size}, which this model's embeddings have: it was not trained for fewer`);
  const start = performance.now();
  const data: object[] = [];
  let tokens = 0;
  try {
    for (const [index, ids] of texts.entries()) {
      const embedding = await engine.embed({ client, model, ids, options: { pooling, context, signal } });
      tokens += ids.length;
      onTokens(ids.length);
      data.push({ object: "embedding", index, embedding: encoded(embedding, encoding) });
    }
  } catch (error) {
    throw toApiError(error, assignment.onFailure);
  }
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  onUsage(
    { ...usage, completion_tokens: 0, prompt_tokens_details: { cached_tokens: 0 } },
    { llama: undefined, prefillSeconds: (performance.now() - start) / 1000, decodeSeconds: 0 },
  );
  onWritten();
  return Response.json({ object: "list", data, model: model.id, usage });
}

/** In f32, as numbers or as the base64 of their bytes, lowest first. */
function encoded(embedding: Float64Array, encoding: EmbeddingTexts["encoding"]): readonly number[] | string {
  const rounded = Float32Array.from(embedding);
  if (encoding === "float") return [...rounded];
  const bytes = new DataView(new ArrayBuffer(4 * rounded.length));
  for (const [at, value] of rounded.entries()) bytes.setFloat32(4 * at, value, true);
  return Buffer.from(bytes.buffer).toString("base64");
}
