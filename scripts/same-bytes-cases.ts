import { join } from "node:path";

/** Commands of the program, one after another in an empty folder; `--json` is added to each. */
export interface Case {
  readonly name: string;
  /** @param fixtures the folder of that name */
  readonly commands: (fixtures: string) => readonly (readonly string[])[];
}

/** Four steps on a few short rows: what is compared is bits, not learning. */
const SHORT = "--steps 4 --batch-size 2 --max-length 48 --save-every 2 --eval-every 4 --out run".split(" ");
const PROMPT = ["-p", "Who lives in the glass house?", "--temperature", "0", "--max-tokens", "24"];

/** A training run with these flags; then its adapter merged, in a chat, and measured. */
function trained(name: string, flags = ""): Case {
  const own = flags === "" ? [] : flags.split(" ");
  return {
    name,
    commands(fixtures) {
      const model = join(fixtures, "embedded/model");
      return [
        ["finetune", model, "--data", join(fixtures, "embedded/data"), ...SHORT, ...own],
        ["merge", model, "run", "--out", "merged", "--scale", "3"],
        ["chat", model, "--adapter", "run", ...PROMPT],
      ];
    },
  };
}

/** Merges of the bundled adapter, in every way of rounding. */
function merges(fixtures: string): string[][] {
  const both = [join(fixtures, "tiny/base"), join(fixtures, "tiny/adapter")];
  return [
    ["merge", ...both, "--out", "merged"],
    ["merge", ...both, "--out", "f32", "--dtype", "f32"],
    ["merge", ...both, "--out", "f16", "--dtype", "f16", "--scale", "-0.5"],
    ["merge", ...both, "--out", "as-peft", "--rounding", "peft"],
    ["merge", ...both, both[1] ?? "", "--out", "twice"],
    ["merge", "merged", both[1] ?? "", "--out", "back", "--unmerge"],
  ];
}

/** A run that is stopped and goes on; then one that goes on from its adapter. */
function resumed(fixtures: string): string[][] {
  const model = join(fixtures, "embedded/model");
  const data = ["--data", join(fixtures, "embedded/data"), "--batch-size", "2", "--max-length", "48"];
  return [
    ["finetune", model, ...data, "--schedule", "constant", "--dropout", "0.1", "--steps", "2", "--out", "run"],
    ["finetune", "--resume", "run", "--steps", "4"],
    ["finetune", model, ...data, "--init-adapter", "run", "--steps", "2", "--out", "further"],
    ["merge", model, "run", "further", "--out", "both"],
  ];
}

/** A text's perplexity: base, adapter in f32, merged; and two answers, one with sampling. */
function texts(fixtures: string): string[][] {
  const model = join(fixtures, "embedded/model");
  const text = join(fixtures, "embedded/data/valid.jsonl");
  return [
    ["finetune", model, "--data", join(fixtures, "embedded/data"), ...SHORT, "--very-sparse"],
    ["eval", "perplexity", model, "--adapter", "run", "--merged", "--context", "64", "--file", text],
    ["chat", model, ...PROMPT],
    ["chat", model, "--adapter", "run", "-p", "Ahoy!", "--seed", "5", "--top-p", "0.9", "--max-tokens", "24"],
  ];
}

/** Every way to the same numbers that the program has. */
export const CASES: readonly Case[] = [
  { name: "merges", commands: merges },
  { name: "resumed", commands: resumed },
  { name: "texts", commands: texts },
  trained("dense"),
  trained("sparse", "--sparse --targets all-linear --rank 8"),
  trained("philox", "--generator philox-v1 --rank 16"),
  trained("paper", "--variant paper --rank 12 --layers 0,1"),
  trained("merged-orders", "--compute merged --grad-accum 2 --rank 16 --dtype f32"),
  trained("factored-orders", "--compute factored --packing --rank 16"),
  trained("dropout", "--dropout 0.2 --sparse --checkpoint-activations"),
  trained("lora", "--method lora --rslora --dropout 0.1 --train-on-prompt"),
  {
    name: "full",
    commands: (fixtures) => [
      ["finetune", join(fixtures, "embedded/model"), "--data", join(fixtures, "embedded/data"), ...SHORT].concat([
        "--method",
        "full",
        "--weight-decay",
        "0.1",
        "--warmup",
        "2",
        "--schedule",
        "cosine",
      ]),
      ["chat", "run", ...PROMPT],
    ],
  },
];
