import * as v from "valibot";
import { chosenSeed, DEFAULT_SAMPLING, MAX_TEMPERATURE, type SamplingOptions } from "../generation/sampling.ts";
import { brief } from "../../files/failure.ts";
import { ApiError, badField } from "./api-error.ts";
import { type AskedFormat, FORMAT_FIELDS, readFormat } from "./format-fields.ts";
import { IDLE_FIELDS, IGNORED, issueInWords, nested, optional, UNSUPPORTED } from "./schemas.ts";

/** What the command line and the model may say of sampling. */
export type ServerSampling = Pick<SamplingOptions, "temperature" | "topK" | "topP" | "minP" | "repeatPenalty">;

/** Sampling of requests that say nothing, and the longest answer of those. */
export interface RequestDefaults {
  readonly sampling: { readonly [name in keyof ServerSampling]?: ServerSampling[name] | undefined };
  /** An endpoint's convention, and its numbers where nobody else says any; OpenAI's convention with chat's where nothing is said. */
  readonly endpoint?: SamplingOptions;
  /** Undefined: up to the context's end. */
  readonly maxTokens: number | undefined;
}

/** How a request wants its texts to be written and answered. */
export interface AnswerSettings {
  /** The model's id; undefined where the request leaves the choice to us. */
  readonly model: string | undefined;
  readonly sampling: SamplingOptions;
  readonly maxTokens: number | undefined;
  readonly stops: readonly string[];
  /** Texts to write for each prompt, each with a seed of its own. */
  readonly choices: number;
  /** Best tokens to name with each one; undefined: no probabilities are wanted. */
  readonly topLogprobs: number | undefined;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Who asks, where the request says so: people behind one address take turns by it. */
  readonly user: string;
  /** Added to the logits of tokens. */
  readonly biases: ReadonlyMap<number, number>;
  /** What `/v1/responses` says again of its request. */
  readonly said?: Readonly<Record<string, unknown>> | undefined;
}

/** What all endpoints are asked for. */
export interface GenerationRequest extends AskedFormat {
  readonly settings: AnswerSettings;
}

/** As OpenAI's API allows. */
const MAX_TOP_LOGPROBS = 20;
const MAX_STOPS = 16;
/** They are added for each token of an answer. */
const MOST_BIASES = 10_000;
/** Texts of one request: they wait in the queue one by one. */
export const MAX_CHOICES = 128;

/** Of an object schema, which by itself takes a list for an object. */
export function noList<S extends v.GenericSchema>(schema: S) {
  return v.pipe(
    v.unknown(),
    v.check((value) => !Array.isArray(value), "must be an object, not a list"),
    schema,
  );
}
const integer = (least: number) => v.pipe(v.number(), v.safeInteger(), v.minValue(least));
const finite = v.pipe(v.number(), v.finite());
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Fields that both endpoints know. */
export const COMMON_FIELDS = {
  model: optional(v.string()),
  stream: optional(v.boolean()),
  stream_options: optional(noList(nested({ include_usage: optional(v.boolean()), include_obfuscation: IGNORED }))),
  max_tokens: optional(integer(-1)),
  stop: optional(v.union([v.string(), v.pipe(v.array(v.string()), v.maxLength(MAX_STOPS))])),
  seed: optional(v.pipe(v.number(), v.integer(), v.minValue(-(2 ** 63)), v.maxValue(2 ** 63))),
  temperature: optional(v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_TEMPERATURE))),
  top_p: optional(share),
  top_k: optional(integer(-1)),
  min_p: optional(share),
  presence_penalty: optional(finite),
  frequency_penalty: optional(finite),
  repetition_penalty: optional(v.pipe(finite, v.gtValue(0))),
  repeat_penalty: optional(v.pipe(finite, v.gtValue(0))),
  repeat_last_n: optional(integer(-1)),
  n: optional(v.pipe(integer(1), v.maxValue(MAX_CHOICES))),
  user: optional(v.string()),
  logit_bias: optional(
    noList(
      v.pipe(
        v.record(v.string(), v.unknown()),
        v.check((biases) => Object.keys(biases).length <= MOST_BIASES, `names more than ${MOST_BIASES} tokens`),
        v.record(
          v.pipe(v.string(), v.regex(/^\d{1,8}$/, "must be token ids")),
          v.pipe(finite, v.minValue(-100), v.maxValue(100)),
        ),
      ),
    ),
  ),
  ...FORMAT_FIELDS,
} as const;

type CommonFields = v.InferOutput<v.ObjectSchema<typeof COMMON_FIELDS, undefined>>;

/**
 * Reads a body by a schema and refuses what would silently be left undone: fields that the schema does not know, unless they
 * ask for nothing.
 * @throws ApiError 400 naming the field
 */
export function readFields<S extends v.GenericSchema & { readonly entries: object }>(
  schema: S,
  body: unknown,
): v.InferOutput<S> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new ApiError(400, "the body is not a JSON object");
  }
  for (const [name, value] of Object.entries(body)) {
    if (value === null || Object.hasOwn(schema.entries, name) || IDLE_FIELDS.get(name)?.(value) === true) continue;
    throw badField(brief(name), UNSUPPORTED, "unsupported_parameter");
  }
  const result = v.safeParse(schema, body);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const code = issue.message === UNSUPPORTED ? "unsupported_parameter" : undefined;
  throw badField(brief(v.getDotPath(issue) ?? "body"), issueInWords(issue), code);
}

/** Of OpenAI's endpoints: chat's numbers in OpenAI's order. Repetition penalties look at everything. */
const OPENAI_SAMPLING: SamplingOptions = {
  ...DEFAULT_SAMPLING,
  convention: "openai",
  penaltyWindow: Number.MAX_SAFE_INTEGER,
};

/** How requests are sampled that say nothing: by the command line, else by the model, else by the endpoint. */
export function defaultSampling({ sampling, endpoint = OPENAI_SAMPLING }: RequestDefaults): SamplingOptions {
  const said = Object.entries(sampling).filter(([, value]) => value !== undefined);
  return { ...endpoint, ...Object.fromEntries(said) };
}

/**
 * Turns the common fields into what the engine works with.
 * @param leastTokens 0 where a request may ask for none, only to have its prompt looked at
 */
export function generationRequest(
  fields: CommonFields & { readonly max_completion_tokens?: number | undefined },
  topLogprobs: number | undefined,
  defaults: RequestDefaults,
  leastTokens = 1,
): GenerationRequest {
  const usual = defaultSampling(defaults);
  const { temperature, topK, topP, minP, repeatPenalty } = usual;
  const { stop, repeat_last_n: window = usual.penaltyWindow } = fields;
  const settings = {
    model: fields.model,
    sampling: {
      ...usual,
      temperature: fields.temperature ?? temperature,
      // -1 is vLLM's word for all.
      topK: Math.max(0, fields.top_k ?? topK),
      // The best token always stays, so that nothing more than a trifle is as good as nothing.
      topP: Math.max(fields.top_p ?? topP, Number.MIN_VALUE),
      minP: fields.min_p ?? minP,
      repeatPenalty: fields.repetition_penalty ?? fields.repeat_penalty ?? repeatPenalty,
      presencePenalty: fields.presence_penalty ?? 0,
      frequencyPenalty: fields.frequency_penalty ?? 0,
      // -1 is llama.cpp's word for all.
      penaltyWindow: window < 0 ? Number.MAX_SAFE_INTEGER : window,
      seed: chosenSeed(fields.seed),
    },
    maxTokens: readLength(fields, defaults, leastTokens),
    stops: typeof stop === "string" ? [stop] : (stop ?? []),
    choices: fields.n ?? 1,
    topLogprobs,
    stream: fields.stream ?? false,
    includeUsage: fields.stream_options?.include_usage ?? false,
    user: fields.user ?? "",
    biases: new Map(Object.entries(fields.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias])),
  };
  return { settings, ...readFormat(fields) };
}

function readLength(
  fields: Pick<CommonFields, "max_tokens"> & { readonly max_completion_tokens?: number | undefined },
  { maxTokens }: RequestDefaults,
  least: number,
): number | undefined {
  const [name, wanted] =
    fields.max_completion_tokens === undefined
      ? (["max_tokens", fields.max_tokens] as const)
      : (["max_completion_tokens", fields.max_completion_tokens] as const);
  if (wanted === 0 && least > 0) throw badField(name, "must be at least 1");
  if (wanted === undefined) return maxTokens;
  // -1 is llama.cpp's word for "as long as it takes".
  return wanted < 0 ? undefined : wanted;
}

/** A whole number in a range, for `top_logprobs` and `logprobs`. */
export const LOGPROBS_COUNT = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_TOP_LOGPROBS));
