import { choice, flag, integer, number, type OptionValues, text } from "../../terminal/options/command.ts";
import { generatorOption } from "../../terminal/options/shared/model.ts";
import { OUTTYPES } from "../merge/to-files/options.ts";

/** The options of `randlora convert`. */
export const CONVERT_OPTIONS = {
  to: choice(["peft", "json", "lora", "gguf"], {
    topic: "Output",
    help: "format to write; lora: a PEFT folder with the LoRA nearest to ΔW",
  }),
  out: text({
    value: "PATH",
    short: "o",
    topic: "Output",
    help: "output folder (peft, lora) or file (json, gguf)",
  }),
  rank: integer({
    value: "R",
    min: 1,
    topic: "LoRA",
    help: "lora: rank of each module, or the highest beside --energy",
  }),
  energy: number({
    value: "E",
    above: 0,
    max: 1,
    topic: "LoRA",
    help: "lora: part of ‖ΔW‖² that each module keeps at least; 1 keeps all",
  }),
  generator: generatorOption("LoRA"),
  projections: choice(["yes", "no"], {
    topic: "Output",
    help: "save the random bases with the adapter",
    defaultText: "peft: yes; json: only if nothing can draw them again",
  }),
  outtype: choice(OUTTYPES, {
    topic: "Output",
    help: "gguf: storage type of the matrices",
    defaultText: "keep",
  }),
  pre: text({
    value: "NAME",
    topic: "Output",
    help: "llama.cpp's name of the pre-tokenizer, if it is not found (GGUF)",
  }),
  base: text({
    value: "MODEL",
    topic: "Output",
    help: "base model of the adapter",
    defaultText: "the one that the adapter names",
  }),
  force: flag({ topic: "Output", help: "replace an existing output" }),
} as const;

export type ConvertFlags = OptionValues<typeof CONVERT_OPTIONS>;
