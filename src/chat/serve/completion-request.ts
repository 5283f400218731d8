import * as v from "valibot";
import { badField } from "./api-error.ts";
import {
  COMMON_FIELDS,
  type GenerationRequest,
  generationRequest,
  LOGPROBS_COUNT,
  MAX_CHOICES,
  readFields,
  type RequestDefaults,
} from "./fields.ts";
import { optional } from "./schemas.ts";

/** What `/v1/completions` is asked for. */
export interface CompletionRequest extends GenerationRequest {
  /** Texts, or token ids of each, at least one. */
  readonly prompts: readonly (string | readonly number[])[];
  /** Give the prompt, too, with its probabilities where those are wanted. */
  readonly echo: boolean;
}

const Ids = v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0)));

/** A prompt, or several, as OpenAI's API has them. */
export const PROMPTS = v.union(
  [v.string(), Ids, v.array(v.string()), v.array(Ids)],
  "must be a string, token ids, or a list of either",
);

const Body = v.looseObject({
  ...COMMON_FIELDS,
  prompt: PROMPTS,
  logprobs: optional(LOGPROBS_COUNT),
  echo: optional(v.boolean()),
});

/** @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done */
export function readCompletionRequest(body: unknown, defaults: RequestDefaults): CompletionRequest {
  const { prompt, echo, ...fields } = readFields(Body, body);
  const request = generationRequest(fields, fields.logprobs, defaults, 0);
  const prompts = promptsOf(prompt);
  if (prompts.length * request.settings.choices > MAX_CHOICES) {
    throw badField(
      "prompt",
      `${prompts.length} prompts, ${request.settings.choices} texts each, are more than ${MAX_CHOICES}`,
    );
  }
  return { ...request, prompts, echo: echo ?? false };
}

/** The texts, or the token ids of each. */
export function promptsOf(prompt: v.InferOutput<typeof PROMPTS>): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  const ids = prompt.filter((item) => typeof item === "number");
  if (ids.length === prompt.length) return [ids];
  return prompt.filter((item) => typeof item !== "number");
}

/** What `/v1/embeddings` is asked for. */
export interface EmbeddingRequest {
  /** The model's id; undefined where the request leaves the choice to us. */
  readonly model: string | undefined;
  /** Texts, or token ids of each. */
  readonly prompts: readonly (string | readonly number[])[];
  /** Numbers, or their bytes in f32. */
  readonly encoding: "float" | "base64";
  /** Numbers of an embedding; undefined: as many as the model's have. */
  readonly dimensions: number | undefined;
  readonly user: string;
  /** Cut what does not fit the context at its end. */
  readonly truncates: boolean;
  /** Where the texts stand. */
  readonly field: "input" | "prompt";
}

/** As OpenAI's API allows. */
const MAX_INPUTS = 2048;

export const DIMENSIONS = optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1)));

const EmbeddingBody = v.looseObject({
  model: optional(v.string()),
  input: PROMPTS,
  encoding_format: optional(v.picklist(["float", "base64"])),
  dimensions: DIMENSIONS,
  user: optional(v.string()),
});

/** @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done */
export function readEmbeddingRequest(body: unknown): EmbeddingRequest {
  const { model, input, encoding_format: encoding = "float", dimensions, user = "" } = readFields(EmbeddingBody, body);
  const prompts = textsToEmbed(promptsOf(input), "input");
  return { model, prompts, encoding, dimensions, user, truncates: false, field: "input" };
}

/** @throws ApiError 400 for too many texts, and an empty one */
export function textsToEmbed(
  prompts: EmbeddingRequest["prompts"],
  field: EmbeddingRequest["field"],
): EmbeddingRequest["prompts"] {
  if (prompts.length > MAX_INPUTS) throw badField(field, `has ${prompts.length} inputs, and ${MAX_INPUTS} are allowed`);
  if (prompts.some(({ length }) => length === 0)) throw badField(field, "has an empty text: there is nothing to embed");
  return prompts;
}
