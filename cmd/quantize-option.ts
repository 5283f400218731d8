import { BLOCKS_NAMES } from "../src/device/dtype.ts";
import { choice } from "../src/options/command.ts";

/** `--quantize`, where a model runs as it is. */
export function quantizeOption({ topic }: { readonly topic: string }) {
  return choice(BLOCKS_NAMES, {
    topic,
    help: "hold the layers' weights in blocks of 32 numbers of 8 or 4 bits, as llama.cpp's Q8_0 and Q4_0; adapters are added beside them",
    defaultText: "as stored",
  });
}
