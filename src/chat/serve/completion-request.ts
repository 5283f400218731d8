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
