import { BLOCKS_NAMES, KV_NAMES, type KvName } from "../../../compute/device/dtype.ts";
import { GENERATOR_NAMES } from "../../../compute/random/names.ts";
import { choice, count, number, repeat } from "../command.ts";

/** `--generator` of commands that read adapters. */
export function generatorOption(topic: string) {
  const help = "random generator of the bases, if the adapter does not record it";
  return choice(GENERATOR_NAMES, { value: "NAME", topic, help });
}

/** `--scale` and `--generator`, where a model is used with adapters. */
export const ADAPTER_OPTIONS = {
  scale: repeat(
    number({
      value: "S",
      topic: "Adapters",
      help: "adapter scale: multiplies α/r, for all or for each adapter",
    }),
  ),
  generator: generatorOption("Adapters"),
};

const BLOCKS = "quantize the layers' weights to llama.cpp's Q8_0 or Q4_0";
const TABLES = "embedding and output matrix to Q8_0";

/** `--quantize`, where a language model runs as it is. */
export function quantizeOption({ topic }: { readonly topic: string }) {
  return choice(BLOCKS_NAMES, {
    topic,
    help: `${BLOCKS}, ${TABLES}; adapters are added beside them`,
    defaultText: "as stored",
  });
}

/** `--quantize`, where a model of images does. */
export const IMAGE_QUANTIZE_OPTION = choice(BLOCKS_NAMES, {
  topic: "Model",
  help: `${BLOCKS}; adapters are merged before`,
  defaultText: "as stored",
});

/**
 * `--kv-type`, where texts are written or measured. Texts are those of f32 up to the first token whose logit nearly ties with
 * another's, which with q8_0 comes sooner.
 */
export function kvTypeOption(byDefault: KvName) {
  const help = "number format of the KV cache; f16 takes half the memory of f32, q8_0 about a quarter";
  return choice(KV_NAMES, { topic: "Model", help, default: byDefault });
}

/** `--context` of every command that has one: one grammar, since RANDLORA_CONTEXT and a configuration file reach all. */
export function contextOption(spec: { readonly topic: string; readonly help: string; readonly defaultText: string }) {
  return count({ short: "c", value: "N", min: 2, ...spec });
}
