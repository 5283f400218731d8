import * as v from "valibot";
import { badField } from "./api-error.ts";
import {
  COMMON_FIELDS,
  type GenerationRequest,
  generationRequest,
  LOGPROBS_COUNT,
  optional,
  readFields,
  type RequestDefaults,
} from "./fields.ts";

/** What `/v1/completions` is asked for. */
export interface CompletionRequest extends GenerationRequest {
  /** A text, or token ids. */
  readonly prompt: string | readonly number[];
}

const Ids = v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0)));

const Body = v.looseObject({
  ...COMMON_FIELDS,
  prompt: v.union([v.string(), Ids, v.array(v.string()), v.array(Ids)]),
  logprobs: optional(LOGPROBS_COUNT),
});

/** @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done */
export function readCompletionRequest(body: unknown, defaults: RequestDefaults): CompletionRequest {
  const { prompt, ...fields } = readFields(Body, body);
  return {
    ...generationRequest(fields, fields.logprobs, defaults),
    prompt: onePrompt(prompt),
  };
}

/** OpenAI's API takes lists of prompts; a list of one is a prompt. */
function onePrompt(prompt: v.InferOutput<typeof Body>["prompt"]): string | readonly number[] {
  if (typeof prompt === "string") return prompt;
  const ids = prompt.filter((item) => typeof item === "number");
  if (ids.length === prompt.length) return ids;
  const [only] = prompt;
  if (prompt.length > 1 || only === undefined || typeof only === "number") {
    throw badField("prompt", "send one prompt a request", "unsupported_parameter");
  }
  return only;
}
