/**
 * What PEFT, transformers, llama.cpp and mlx-lm call our options, without the dashes and in one spelling (`_` is `-`):
 * for the hint after a name that is not ours.
 */
const OTHER_FLAGS: Readonly<Record<string, string>> = {
  lr: "learning-rate",
  r: "rank",
  "lora-r": "rank",
  "lora-alpha": "alpha",
  "lora-dropout": "dropout",
  "target-modules": "targets",
  "layers-to-transform": "layers",
  "num-train-epochs": "epochs",
  "num-epochs": "epochs",
  "max-steps": "steps",
  iters: "steps",
  "per-device-train-batch-size": "batch-size",
  "gradient-accumulation-steps": "grad-accum",
  "grad-accumulation-steps": "grad-accum",
  "gradient-checkpointing": "checkpoint-activations",
  "grad-checkpoint": "checkpoint-activations",
  "max-grad-norm": "grad-clip",
  "max-seq-length": "max-length",
  "max-seq-len": "max-length",
  "lr-scheduler-type": "schedule",
  "warmup-steps": "warmup",
  "save-steps": "save-every",
  "eval-steps": "eval-every",
  "steps-per-eval": "eval-every",
  "output-dir": "out",
  "train-file": "data",
  "train-data": "data",
  dataset: "data",
  bs: "batch-size",
  "load-in-4bit": "quantize",
  "load-in-8bit": "quantize",
  train: "data",
  "fine-tune-type": "method",
  "adapter-path": "adapter",
  lora: "adapter",
  "n-predict": "max-tokens",
  "max-new-tokens": "max-tokens",
  "ctx-size": "context",
  temp: "temperature",
  "repetition-penalty": "repeat-penalty",
  "system-prompt": "system",
  sys: "system",
  t: "threads",
  s: "seed",
  np: "parallel",
  ngl: "device",
  "gpu-layers": "device",
  "n-gpu-layers": "device",
};

/** The option of ours, among `known`, that other programs call `--name`; undefined where there is none. */
export function optionOfOthers(name: string, known: readonly string[]): string | undefined {
  const meant = OTHER_FLAGS[spelling(name)];
  return meant !== undefined && known.includes(meant) ? meant : undefined;
}

/** What stands in place of commands that other programs have, and we have not. */
const OTHER_COMMANDS: Readonly<Record<string, string>> = {
  quantize: "weights are quantized as they are loaded: --quantize q8 or q4 of finetune, chat, serve, eval and classify",
  bench: "randlora doctor measures this machine, --profile any command, and randlora eval a model",
  version: "write randlora --version",
};

/** The hint after a command that other programs have; undefined for an unknown word. */
export function hintOfOtherCommand(word: string): string | undefined {
  return Object.hasOwn(OTHER_COMMANDS, word) ? OTHER_COMMANDS[word] : undefined;
}

/** The hint after a value that other programs have beside these of ours; undefined for an unknown word. */
export function hintOfOtherValue(value: string, choices: readonly string[]): string | undefined {
  if (/^qlora$/i.test(value) && choices.includes("lora")) {
    return "QLoRA is LoRA on a quantized base: --method lora --quantize q4";
  }
  const blocks = /^(i?q\d_|nf4|fp4)/i.test(value) ? choices.find((choice) => choice.startsWith("q4")) : undefined;
  return blocks && `of llama.cpp's types, Q8_0 and Q4_0 are written: ${blocks} has 4 bits`;
}

const MODEL = ["MODEL", "BASE"];
const ADAPTER = ["ADAPTER"];

/** The same of what is an argument of ours, and stands without dashes: how usages may call it. */
const OTHER_ARGUMENTS: ReadonlyMap<string, readonly string[]> = new Map([
  ["m", MODEL],
  ["model", MODEL],
  ["model-path", MODEL],
  ["model-name-or-path", MODEL],
  ["base-model", MODEL],
  ["hf", MODEL],
  ["hf-repo", MODEL],
  ["base", MODEL],
  ["adapter", ADAPTER],
  ["adapter-path", ADAPTER],
  ["lora", ADAPTER],
]);

/** The argument, among `known`, that other programs take as an option `--name`; undefined where there is none. */
export function argumentOfOthers(name: string, known: readonly string[]): string | undefined {
  return OTHER_ARGUMENTS.get(spelling(name))?.find((argument) => known.includes(argument));
}

function spelling(name: string): string {
  return name.replace(/^-+/, "").replaceAll("_", "-").toLowerCase();
}
