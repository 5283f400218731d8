import { BLOCKS_NAMES } from "../../../compute/device/dtype.ts";
import { choice } from "../command.ts";

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
