import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { brief, oneLine } from "../../files/failure.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { MAX_TEMPERATURE } from "../generation/sampling.ts";
import type { RequestDefaults } from "./fields.ts";
import { optional } from "./schemas.ts";
import type { ServeFlags } from "./options.ts";

/** Of an answer where nobody says how long it may be: one that repeats itself comes to an end. */
const MOST_TOKENS = 4096;

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

const Config = v.object({
  temperature: optional(v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_TEMPERATURE))),
  top_k: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  top_p: optional(share),
  min_p: optional(share),
  repetition_penalty: optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
  max_new_tokens: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
});

/** What a model's author recommends for sampling. */
export type GenerationConfig = v.InferOutput<typeof Config>;

/**
 * Reads the sampling of a model's generation_config.json: the fields that vLLM takes from it. `do_sample` says nothing, since
 * a request that wants the most likely token says so by its temperature.
 * @throws RandloraError `format` for a value that makes no sense
 */
export async function readGenerationConfig(folder: string): Promise<GenerationConfig> {
  const path = join(folder, "generation_config.json");
  const result = v.safeParse(Config, await readOptionalJsonObject(path), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new RandloraError("format", `${oneLine(path)}: ${v.getDotPath(issue) ?? ""}: ${brief(issue.message)}`);
}

/** What the command line says of sampling. */
type SamplingFlags = Pick<ServeFlags, "temperature" | "topK" | "topP" | "minP" | "maxTokens">;

/** What the command line, else the model says of requests that say nothing. */
export function requestDefaults(flags: SamplingFlags, config: GenerationConfig): RequestDefaults {
  return {
    sampling: {
      temperature: flags.temperature ?? config.temperature,
      topK: flags.topK ?? config.top_k,
      topP: flags.topP ?? config.top_p,
      minP: flags.minP ?? config.min_p,
      repeatPenalty: config.repetition_penalty,
    },
    maxTokens: flags.maxTokens ?? config.max_new_tokens ?? MOST_TOKENS,
  };
}
