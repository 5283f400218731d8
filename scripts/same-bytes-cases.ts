import { join } from "node:path";
import { type Case, type Inputs, PROMPT, QUESTION, type Served, SHORT } from "./same-bytes-case.ts";
import { MODEL_CASES } from "./same-bytes-models.ts";

/** A training run with these flags; then its adapter merged, in a chat, and measured. */
function trained(name: string, flags = ""): Case {
  const own = flags === "" ? [] : flags.split(" ");
  return {
    name,
    commands({ fixtures }) {
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
function merges({ fixtures }: Inputs): string[][] {
  const both = [join(fixtures, "tiny/base"), join(fixtures, "tiny/adapter")];
  return [
    ["merge", ...both, "--out", "merged"],
    ["merge", ...both, "--out", "f32", "--dtype", "f32"],
    ["merge", ...both, "--out", "f16", "--dtype", "f16", "--scale", "-0.5"],
    ["merge", ...both, "--out", "as-peft", "--rounding", "peft"],
    ["merge", ...both, "--out", "doubled", "--scale", "2"],
    ["merge", "merged", both[1] ?? "", "--out", "back", "--unmerge"],
  ];
}

/** A run that is stopped and goes on; then one that goes on from its adapter. */
function resumed({ fixtures }: Inputs): string[][] {
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
function texts({ fixtures, made }: Inputs): string[][] {
  const model = join(fixtures, "embedded/model");
  const text = join(made, "text.txt");
  return [
    ["finetune", model, "--data", join(fixtures, "embedded/data"), ...SHORT, "--very-sparse"],
    ["eval", "perplexity", model, "--adapter", "run", "--merged", "--context", "64", "--file", text],
    ["chat", model, ...PROMPT],
    ["chat", model, "--adapter", "run", "-p", "Ahoy!", "--seed", "5", "--top-p", "0.9", "--max-tokens", "24"],
  ];
}

/** A run whose base is quantized; the adapter beside those weights, and in a merge with the stored ones. */
function quantized(name: string, flags: string): Case {
  return {
    name,
    commands({ fixtures, made }) {
      const model = join(fixtures, "embedded/model");
      const quantize = flags.split(" ").slice(0, 2);
      const text = ["--context", "64", "--file", join(made, "text.txt")];
      return [
        ["finetune", model, "--data", join(fixtures, "embedded/data"), ...SHORT, ...flags.split(" ")],
        ["merge", model, "run", "--out", "merged"],
        ["chat", model, "--adapter", "run", ...quantize, ...PROMPT],
        ["eval", "perplexity", model, "--adapter", "run", ...quantize, ...text],
      ];
    },
  };
}

/** Adapters of several methods as adapter.json and as PEFT folders again, merged together. */
function conversions({ fixtures }: Inputs): string[][] {
  const model = join(fixtures, "embedded/model");
  const methods = ["randlora --sparse", "lora", "dora", "vera", "nola", "pranc", "hybrid"];
  const commands = methods.flatMap((flags) => {
    const [method = "", ...own] = flags.split(" ");
    const out = ["--out", method, "--steps", "1", "--batch-size", "1", "--max-length", "32"];
    return [
      ["finetune", model, "--data", join(fixtures, "embedded/data"), "--method", method, ...own, ...out],
      ["convert", method, "--to", "json", "--out", `${method}.json`],
      ["convert", `${method}.json`, "--to", "peft", "--out", `${method}-peft`],
      ["inspect", `${method}.json`],
    ];
  });
  return [...commands, ["merge", model, "randlora.json", "lora-peft", "vera.json", "nola", "--out", "merged"]];
}

/** A trained head and a LoRA on a vision model; accuracy, classes and embeddings, before and after a merge. */
function vision(model: string, flags: string): Case["commands"] {
  return ({ made }) => {
    const base = join(made, model);
    const images = join(made, "images");
    const image = join(images, "test/owl/30.ppm");
    const targets = flags.includes("full") ? [] : ["--targets", "q_proj,v_proj"];
    const training = "--batch-size 6 --steps 4 --augment crop-flip --save-every 2 --out run";
    return [
      ["finetune", base, "--data", images, ...targets, ...training.split(" "), ...flags.split(" ")],
      ...(flags.includes("full") ? [] : [["merge", base, "run", "--out", "merged", "--scale", "3"]]),
      ["eval", "images", flags.includes("full") ? "run" : "merged", "--data", images],
      ["embed", ...(flags.includes("full") ? ["run"] : [base, "--adapter", "run"]), image],
    ];
  };
}

/** Beams, samples and log-probabilities of a base and an adapter, over the API. */
function served({ fixtures }: Inputs): Served {
  const chat = "/v1/chat/completions";
  const messages = [{ role: "user", content: QUESTION }];
  return {
    serve: [join(fixtures, "embedded/model"), "--adapter", "own=run", "--parallel", "3"],
    requests: [
      [chat, { model: "own", messages, temperature: 0, max_tokens: 24, logprobs: true, top_logprobs: 2 }],
      [chat, { model: "model", messages, n: 3, seed: 7, temperature: 1, max_tokens: 16 }],
      [
        "/v1/completions",
        { model: "own", prompt: ["Ahoy", "The sea is"], echo: true, logprobs: 1, max_tokens: 8, temperature: 0 },
      ],
    ],
  };
}

const OWN_CASES: readonly Case[] = [
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
  trained("half-rank", "--variant half-rank --rank 16"),
  trained("rank-r", "--variant rank-r --rank 8"),
  trained("magnitudes", "--sparse --dora --rank 16"),
  trained("dora", "--method dora --dropout 0.1"),
  trained("vera", "--method vera --rank 64"),
  trained("nola", "--method nola --bases 64"),
  trained("pranc", "--method pranc --bases 16"),
  trained("hybrid", "--method hybrid --rank 16 --lora-rank 4 --very-sparse"),
  quantized("q8", "--quantize q8 --sparse --rank 16"),
  quantized("q4", "--quantize q4 --method lora"),
  { name: "conversions", commands: conversions },
  {
    name: "served",
    commands: ({ fixtures }) => [
      ["finetune", join(fixtures, "embedded/model"), "--data", join(fixtures, "embedded/data"), ...SHORT, "--sparse"],
      ["chat", join(fixtures, "embedded/model"), "--adapter", "run", "--beams", "3", ...PROMPT],
    ],
    served,
  },
  { name: "dinov2", commands: vision("dinov2", "--head linear --sparse --rank 4") },
  { name: "dinov2-full", commands: vision("dinov2", "--head cls --method full") },
  { name: "clip", commands: vision("clip", "--head zero-shot --method dora") },
  { name: "clip-contrastive", commands: vision("clip", "--task contrastive --method lora --towers both") },
  trained("lora", "--method lora --rslora --dropout 0.1 --train-on-prompt"),
  {
    name: "full",
    commands: ({ fixtures }) => [
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
  trained("kradapter", "--method kradapter"),
  ...["miss", "gralora", "hira", "oft", "delora", "shira"].map((name) => trained(name, `--method ${name} --rank 12`)),
  trained("c3a", "--method c3a"),
  ...MODEL_CASES,
];

/** Those that are computed in WebAssembly, too. */
const IN_WASM = "merges sparse q8 q4 dinov2 served experts gated-delta convolutions sinks";

/** Every way to the same numbers that the program has. */
export const CASES: readonly Case[] = [
  ...OWN_CASES,
  ...OWN_CASES.filter(({ name }) => IN_WASM.split(" ").includes(name)).map((each): Case => ({
    ...each,
    name: `${each.name}-wasm`,
    code: "wasm",
  })),
];
