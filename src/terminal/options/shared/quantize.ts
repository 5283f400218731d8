import { BLOCKS_NAMES } from "../../../compute/device/dtype.ts";
import { choice } from "../command.ts";

const BLOCKS = "quantize the layers' weights to 8 or 4 bits in blocks of 32, as llama.cpp's Q8_0 and Q4_0";
const TABLES = "embeddings and output matrix to 8 bits";

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
