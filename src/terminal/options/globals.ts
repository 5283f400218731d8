import { flag, integer, text } from "./option.ts";

const topic = "Everywhere";

/** Options of every command; they may stand before or after the command's name. */
export const GLOBAL_OPTIONS = {
  device: text({
    topic,
    alias: "gpu",
    value: "NAME|INDEX|cpu|software",
    help: "what to compute on: a GPU, the program's own CPU device, or Vulkan's; `randlora doctor` lists them",
    defaultText: "the fastest GPU, else cpu",
  }),
  threads: integer({
    topic,
    min: 1,
    max: 256,
    value: "N",
    help: "processor threads that the CPU device works with; results do not depend on it",
    defaultText: "one for each fast core",
  }),
  json: flag({ topic, help: "print the result as one JSON object" }),
  quiet: flag({ topic, short: "q", help: "no progress and no notes, only warnings and errors" }),
  verbose: flag({
    topic,
    short: "v",
    help: "also where options come from, the device, each save or request, time and memory; causes of errors",
  }),
  profile: flag({ topic, help: "measure where the time goes" }),
  config: text({
    topic,
    value: "FILE",
    help: "read options from this YAML file",
    defaultText: "randlora.yaml here, and the user's own",
  }),
};
