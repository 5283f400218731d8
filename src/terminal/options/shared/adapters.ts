import { GENERATOR_NAMES } from "../../../compute/random/names.ts";
import { choice, number, repeat } from "../command.ts";

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
