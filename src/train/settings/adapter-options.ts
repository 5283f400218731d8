import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { choice, integer, number, toggle } from "../../terminal/options/command.ts";
import { mapped } from "../../terminal/options/option.ts";
import { basisSeedOption, layersOption, placeOption, targetsOption } from "./readers.ts";
import { setting } from "./setting.ts";

const topic = "Method";

/** Of adapters: `adapter` in run.json. What a method records, and its defaults, are the method's own (src/adapters). */
export const ADAPTER_OPTIONS = {
  variant: setting(
    choice(["peft", "paper", "half-rank", "rank-r"], {
      topic,
      help: "RandLoRA's bases: paired as PEFT does or as in the paper's equation 4, half as many, or two factors of rank r",
      defaultText: "peft",
    }),
    { compare: "method" },
  ),
  sparse: setting(toggle({ topic, help: "sparse ternary bases: two thirds of the entries are zero" }), {
    compare: "method",
  }),
  verySparse: setting(toggle({ topic, help: "very sparse ternary bases: nearly all entries are zero" }), {
    compare: "method",
  }),
  rslora: setting(toggle({ topic, help: "rank-stabilized scaling, α/√r instead of α/r (LoRA, DoRA, hybrid)" }), {
    compare: "method",
  }),
  dora: setting(
    toggle({ topic, help: "train row magnitudes as well, as DoRA does (RandLoRA; for LoRA: --method dora)" }),
    {
      compare: "method",
    },
  ),
  bases: setting(
    integer({
      value: "K",
      topic,
      help: "number of random bases, each with a trained coefficient (NoLA, PRANC)",
      min: 1,
      defaultText: "nola 1024; pranc 256",
    }),
    { compare: "method" },
  ),
  rank: setting(
    integer({
      value: "r",
      topic,
      help: "rank (RandLoRA: of each basis; C3A, OFT: block size)",
      min: 1,
      defaultText: "32; lora, dora, nola, delora 8; vera 256; kradapter √ of a layer's longer side; miss 64; c3a 256",
    }),
    { compare: "method" },
  ),
  alpha: setting(
    number({
      value: "a",
      topic,
      help: "scale: ΔW is multiplied by α/r (PRANC: α/√K; DeLoRA: λ)",
      defaultText: "2·rank; RandLoRA's 20·rank; pranc 1; delora 15",
    }),
    { compare: "method" },
  ),
  loraRank: setting(
    integer({ value: "r", topic, help: "rank of the LoRA in a hybrid, whose α is 2·r", min: 1, defaultText: "8" }),
    { compare: "method" },
  ),
  freezeLora: setting(toggle({ topic, help: "freeze the LoRA of --init-adapter in a hybrid" }), {
    compare: "method",
  }),
  dInitial: setting(number({ value: "d", topic, help: "initial value of VeRA's λ_d", defaultText: "0.1" }), {
    compare: "method",
  }),
  gammaRate: setting(
    number({ value: "x", topic, help: "γ's learning rate, as a share of λ's (RandLoRA)", above: 0, defaultText: "1" }),
    { compare: "method" },
  ),
  dropout: setting(
    number({ value: "p", topic, help: "dropout of the adapter's input", min: 0, max: 0.999, defaultText: "0" }),
    { compare: "all" },
  ),
  targets: setting(
    targetsOption({
      topic,
      help: "target modules: comma-separated names, all-linear, or a regular expression",
      defaultText: "PEFT's for the architecture, else q_proj,v_proj",
    }),
    { compare: "all" },
  ),
  layers: setting(layersOption({ topic, help: "layers to adapt: indices and ranges" }), { compare: "all" }),
  basisSeed: setting(basisSeedOption({ value: "K", topic, help: "random seed of the bases", defaultText: "0" }), {
    compare: "method",
  }),
  generator: setting(
    choice(GENERATOR_NAMES, {
      value: "NAME",
      topic,
      help: `random generator of the bases: ${GENERATOR_NAMES.join(", ")}`,
      defaultText: "torch-mt19937-bf16-v2; sparse: torch-mt19937-ternary; vera: torch-mt19937-f32",
    }),
    { compare: "method" },
  ),
  projections: setting(
    mapped(
      choice(["yes", "no"], {
        topic,
        help: "save the random bases with the adapter",
        defaultText: "yes; always if PEFT cannot draw them",
      }),
      (answer) => answer === "yes",
    ),
    { compare: "method" },
  ),
  initAdapter: setting(
    placeOption({ value: "A", topic, help: "adapter to continue from; with --method hybrid also a LoRA" }),
    {},
  ),
  compute: setting(
    choice(["auto", "merged", "factored"], {
      topic,
      help: "order of the products with random bases",
      defaultText: "auto: by flops and memory, layer by layer",
    }),
    { compare: "method" },
  ),
} as const;
