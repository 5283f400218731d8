import { createHash } from "node:crypto";
import * as v from "valibot";
import { adapterBytes } from "../../adapters/formats/open.ts";
import { attentionsOf } from "../../models/decoder/config.ts";
import { isGgufFile, openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import { answerFormatOf } from "../tools/answer-formats.ts";
import type { ApiParts } from "./api-parts.ts";
import { ApiError } from "./api-error.ts";
import { parseBody } from "./body.ts";
import { readFields } from "./fields.ts";
import { bare, OLLAMA_SAMPLING } from "./ollama-request.ts";
import { optional } from "./schemas.ts";
import { namedSampling } from "./props-and-slots.ts";
import type { ServedModel } from "./job.ts";

/** A name, and nothing long: read where streams are written. */
const MOST_BYTES = 2 ** 14;
const Show = v.looseObject({
  model: optional(v.string()),
  name: optional(v.string()),
  verbose: optional(v.boolean()),
  // What is shown would have them changed.
  system: optional(v.literal("")),
  options: optional(v.strictObject({})),
});

/** The base's files. */
interface Stored {
  readonly bytes: number;
  readonly parameters: number;
  /** What most parameters are stored in. */
  readonly dtype: string;
  readonly format: "gguf" | "safetensors";
}

/**
 * Ollama's lists of models: `/api/tags`, `/api/ps`, `/api/show`. `digest` is of name and size, not of contents; `quantization_level`
 * is the dtype of most stored parameters; `capabilities` are `completion`, and by the chat template `tools` and `thinking`.
 */
export function ollamaModels({
  model,
  models,
  prompts,
  defaults,
}: Pick<ApiParts, "model" | "models" | "prompts" | "defaults">) {
  // Read when the server starts: the files may be gone when somebody asks.
  const reading = readStored(model.weightsPath);
  reading.catch(() => {}); // told to whoever asks
  const entryOf = async (id: string, adapters: readonly string[]) => {
    const { bytes, parameters, dtype, format } = await reading;
    const own = await Promise.all(adapters.map((path) => adapterBytes(path).catch(() => 0)));
    const size = own.reduce((sum, one) => sum + one, bytes);
    const family = model.decoder.config.architecture;
    return {
      name: id,
      model: id,
      modified_at: new Date(1000 * models.created).toISOString(),
      size,
      // Of the name and the size: Ollama's command shows its beginning, and nothing is checked by it.
      digest: createHash("sha256").update(`${id} ${size}`).digest("hex"),
      details: {
        parent_model: adapters.length === 0 ? "" : models.base,
        format,
        family,
        families: [family],
        parameter_size: parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(2)}M`,
        quantization_level: dtype,
      },
    };
  };
  return {
    /** Every model that can be named; an adapter's size is that of its files and the base's. */
    async tags(): Promise<Response> {
      const entries = Array.from(await models.entries(), ([id, adapters]) => entryOf(id, adapters));
      return Response.json({ models: await Promise.all(entries) });
    },

    /** Models that answer without being read first. */
    async running(): Promise<Response> {
      const { bytes } = model.decoder.weights;
      const running = models.all.map(async (one) => ({
        ...(await entryOf(one.id, pathsOf(one))),
        // None is given up by the clock.
        expires_at: "2318-01-01T00:00:00Z",
        size_vram: model.gpu.info.software ? 0 : bytes,
        context_length: prompts.context,
      }));
      return Response.json({ models: await Promise.all(running) });
    },

    /** One model. @throws ApiError 404 */
    async show(name: string | undefined): Promise<Response> {
      const chosen = await models.choose(name);
      const { details, modified_at } = await entryOf(chosen.id, pathsOf(chosen));
      const { architecture, hiddenSize, vocabularySize, layers } = model.decoder.config;
      const [{ heads, kvHeads }] = attentionsOf(model.decoder.config);
      const parameters = Object.entries({
        num_ctx: prompts.context,
        ...namedSampling({ ...defaults, endpoint: OLLAMA_SAMPLING }),
      });
      const source = model.template?.source ?? "";
      const { mayThink } = answerFormatOf(source, model.tokenizer);
      const { callsTools } = answerFormatOf(model.template?.toolUse?.source ?? source, model.tokenizer);
      return Response.json({
        parameters: parameters.map(([option, value]) => `${option.padEnd(30)} ${value}`).join("\n"),
        template: source,
        details,
        model_info: {
          "general.architecture": architecture,
          "general.parameter_count": (await reading).parameters,
          [`${architecture}.context_length`]: prompts.context,
          [`${architecture}.embedding_length`]: hiddenSize,
          [`${architecture}.block_count`]: layers.length,
          [`${architecture}.attention.head_count`]: heads,
          [`${architecture}.attention.head_count_kv`]: kvHeads,
          [`${architecture}.vocab_size`]: vocabularySize,
        },
        capabilities: ["completion", ...(callsTools ? ["tools"] : []), ...(mayThink ? ["thinking"] : [])],
        modified_at,
      });
    },
  };
}

function pathsOf({ adapters }: ServedModel): readonly string[] {
  return adapters.map(({ path }) => path);
}

/** Which model `/api/show` is asked about. @throws ApiError 400, 413 */
export function readShown(body: Uint8Array): string | undefined {
  if (body.length > MOST_BYTES) throw new ApiError(413, `the body is longer than ${MOST_BYTES} bytes`);
  const { model, name } = readFields(Show, parseBody(body));
  return bare(model === "" ? name : (model ?? name));
}

/** Reads headers alone. @throws RandloraError where the files are not there any more */
async function readStored(path: string): Promise<Stored> {
  await using checkpoint = await openCheckpoint(path);
  const counts = new Map<string, number>();
  for (const { info } of checkpoint.tensors.values()) {
    const elements = info.shape.reduce((product, size) => product * size, 1);
    const dtype = info.blocks?.dtype ?? info.dtype;
    counts.set(dtype, (counts.get(dtype) ?? 0) + elements);
  }
  const [[dtype = ""] = []] = [...counts].toSorted(([, left], [, right]) => right - left);
  return {
    bytes: checkpoint.files.reduce((sum, { size }) => sum + size, 0),
    parameters: [...counts.values()].reduce((sum, count) => sum + count, 0),
    dtype,
    format: isGgufFile(path) ? "gguf" : "safetensors",
  };
}
