// A template for an architecture: copy it to `src/models/decoder/architectures/NAME.ts`, change what it says, and list it in
// `index.ts` there. Names of weights and passes are shared; `DecoderConfig` has every way in which architectures differ.
import { type Architecture, ropedDecoder, sameLayers, withDefault } from "../decoder/architectures/common.ts";
import { ARCHITECTURES, SUPPORTED_TYPES } from "../decoder/architectures/index.ts";

/** Llama with a sliding window in every layer. */
export const template: Architecture = {
  type: "template",
  describe(json) {
    // What it means where config.json is silent: transformers' configuration_NAME.py says it.
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return {
      ...ropedDecoder(json, { contextLength: 2048, epsilon: 1e-6 }),
      layers: sameLayers(json, window),
    };
  },
};

/** Makes an architecture one of the program's, as its entry of the list would, until it is disposed. */
export function registered(architecture: Architecture): Disposable {
  const [all, types] = [ARCHITECTURES as Architecture[], SUPPORTED_TYPES as string[]];
  all.push(architecture);
  types.push(architecture.type);
  return {
    [Symbol.dispose]() {
      all.splice(all.indexOf(architecture), 1);
      types.splice(types.indexOf(architecture.type), 1);
    },
  };
}
