import { join } from "node:path";

/** What the cases compute with, the same files for both trees. */
export interface Inputs {
  /** The folder of that name. */
  readonly fixtures: string;
  /**
   * A folder with labeled images in `images`, a text in `text.txt`, its lines as samples in `texts.jsonl`, and tiny models: `clip`, `dinov2`, `tools`,
   * whose chat template has a place for them, `packed`, whose experts are in MXFP4, and one for each of {@link ARCHITECTURES}.
   */
  readonly made: string;
}

/** Commands of the program, one after another in an empty folder; `--json` is added to each. */
export interface Case {
  readonly name: string;
  readonly commands: (inputs: Inputs) => readonly (readonly string[])[];
  /** Asked of a server afterwards, one after another. */
  readonly served?: (inputs: Inputs) => Served;
  /** Computes in WebAssembly: RANDLORA_CPU_CODE. */
  readonly code?: "wasm";
}

/** Arguments of `serve`, and the bodies that are posted to it, by path. */
export interface Served {
  readonly serve: readonly string[];
  readonly requests: readonly (readonly [path: string, body: object])[];
}

/** Four steps on a few short samples: what is compared is bits, not quality. */
export const SHORT = "--steps 4 --batch-size 2 --max-length 48 --save-every 2 --eval-every 4 --out run".split(" ");
export const QUESTION = "Who lives in the glass house?";
export const PROMPT = ["-p", QUESTION, "--temperature", "0", "--max-tokens", "24"];

/** The model and the data that the program brings along. */
export function embedded({ fixtures }: Inputs): { model: string; data: string[]; valid: string } {
  const [model, data] = [join(fixtures, "embedded/model"), join(fixtures, "embedded/data")];
  return { model, data: ["--data", data], valid: join(data, "valid.jsonl") };
}

/** `model_type` of tiny models of random weights, by what the others lack; their settings beside `writeArchitecture`'s sizes. */
export const ARCHITECTURES = {
  experts: ["mixtral", { num_local_experts: 3 }],
  "gated-delta": ["qwen3_next"],
  convolutions: ["lfm2", { layer_types: ["conv", "full_attention"] }],
  sinks: ["gpt_oss"],
  windows: ["gemma3_text", { sliding_window: 8 }],
  "experts-beside-mlp": ["gemma4_text-experts"],
  "layer-norms": ["gpt_neox"],
  "learned-positions": ["gpt2", { n_positions: 128 }],
  "parallel-blocks": ["cohere2"],
} as const satisfies Record<string, readonly [name: string, settings?: object]>;
