import { bytes, flag, integer, text } from "./option.ts";

const topic = "Everywhere";

/** Options of every command; they may stand before or after the command's name. */
export const GLOBAL_OPTIONS = {
  device: text({
    topic,
    alias: "gpu",
    value: "NAME|INDEX|cpu|software",
    help: "device to compute on: a GPU, the CPU device, or Vulkan's CPU driver; `randlora doctor` lists them",
    defaultText: "the fastest GPU, else cpu",
  }),
  threads: integer({
    topic,
    min: 1,
    max: 256,
    value: "N",
    help: "number of threads of the CPU device; results do not depend on it",
    defaultText: "one for each fast core; on Windows each processor",
  }),
  memory: bytes({
    topic,
    value: "LIMIT",
    help: "memory limit for the device's buffers, such as 8GB",
    defaultText: "what the machine has free; none for a GPU's own memory",
  }),
  json: flag({ topic, help: "print the result as one JSON object" }),
  quiet: flag({
    topic,
    short: "q",
    help: "show only results, warnings and errors",
  }),
  verbose: flag({
    topic,
    short: "v",
    help: "show where options come from, device, checkpoints or requests, time, memory, causes of errors",
  }),
  profile: flag({ topic, help: "measure the time of each kernel" }),
  config: text({
    topic,
    value: "FILE",
    help: "YAML file to read options from",
    defaultText: "randlora.yaml here, and the user's own",
  }),
};
