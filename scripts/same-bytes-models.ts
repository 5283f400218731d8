// Cases of other architectures, files and servers: what models beside the embedded one, and files beside safetensors, are computed with.
import { join } from "node:path";
import { METHOD_NAMES } from "../src/adapters/method-names.ts";
import {
  ARCHITECTURES,
  type Case,
  embedded,
  type Inputs,
  PROMPT,
  QUESTION,
  type Served,
  SHORT,
} from "./same-bytes-case.ts";

/** A model of random weights: RandLoRA and LoRA on all its matrices; its merge, and a continuation. */
function architecture(name: string): Case {
  return {
    name,
    commands({ made }) {
      const model = join(made, name);
      const texts = join(made, "texts.jsonl");
      const training = ["finetune", model, "--data", texts, "--targets", "all-linear", ...SHORT.slice(0, -2)];
      const own = name === "packed" || name === "sinks" ? "lora" : "randlora";
      return [
        [...training, "--method", own, "--rank", "4", "--out", "run"],
        [...training, "--method", "dora", "--rank", "4", "--out", "dora", "--checkpoint-activations"],
        ["merge", model, "run", "--out", "merged"],
        ["chat", model, "--adapter", "run", "--raw", ...PROMPT],
      ];
    },
  };
}

/** A run of this method that is stopped and goes on. */
function resumed(method: string): Case {
  return {
    name: `resumed-${method}`,
    commands(inputs) {
      const { model, data } = embedded(inputs);
      const settings = ["--batch-size", "2", "--max-length", "48", "--schedule", "constant", "--seed", "3"];
      const bases = method === "pranc" || method === "nola" ? ["--bases", "16"] : [];
      const own = ["--method", method, ...bases];
      return [
        ["finetune", model, ...data, ...settings, ...own, "--steps", "2", "--out", "run"],
        ["finetune", "--resume", "run", "--steps", "4"],
      ];
    },
  };
}

/** GGUF in the place of the model and as output, in every type; an adapter as GGUF. */
function gguf(inputs: Inputs): string[][] {
  const { model, data } = embedded(inputs);
  const types = ["keep", "f32", "f16", "q8_0", "q4_0"];
  return [
    ...types.map((type) => ["convert", model, "--to", "gguf", "--outtype", type, "--out", `${type}.gguf`]),
    ["finetune", "q8_0.gguf", ...data, ...SHORT, "--method", "lora"],
    ["convert", "run", "--to", "gguf", "--base", model, "--out", "adapter.gguf"],
    ["merge", model, "run", "--out", "merged.gguf", "--outtype", "q8_0", "--scale", "3"],
    ["merge", "q4_0.gguf", "run", "--out", "in-blocks.gguf"],
    ["merge", "q8_0.gguf", "run", "--out", "folder"],
    ["chat", "q4_0.gguf", "--adapter", "run", ...PROMPT],
    ["eval", "perplexity", "in-blocks.gguf", "--context", "64", "--file", join(inputs.made, "text.txt")],
  ];
}

/** Models of other architectures as GGUF, and back as what is trained. */
function ggufArchitectures({ made }: Inputs): string[][] {
  return ["experts", "gated-delta", "convolutions", "learned-positions"].flatMap((name) => [
    ["convert", join(made, name), "--to", "gguf", "--outtype", "q8_0", "--out", `${name}.gguf`],
    ["chat", `${name}.gguf`, "--raw", ...PROMPT],
  ]);
}

/** Two adapters of different methods in every combination. */
function combine(inputs: Inputs): string[][] {
  const { model, data } = embedded(inputs);
  const training = ["finetune", model, ...data, ...SHORT.slice(0, -2)];
  const ways = ["sum", "ties", "dare-linear", "dare-ties", "magnitude-prune"];
  return [
    [...training, "--method", "lora", "--out", "one"],
    [...training, "--sparse", "--rank", "16", "--seed", "4", "--out", "two"],
    ...ways.map((way) => {
      const density = way === "sum" ? [] : ["--density", "0.4"];
      return [
        "merge",
        model,
        "one",
        "two",
        "--scale",
        "0.7",
        "--scale",
        "1.5",
        "--combine",
        way,
        ...density,
        "--out",
        way,
      ];
    }),
  ];
}

/** Singular values, the nearest LoRA, distances between adapters, and what their representations share. */
function analyses(inputs: Inputs): string[][] {
  const { model, data, valid } = embedded(inputs);
  const training = ["finetune", model, ...data, ...SHORT.slice(0, -2)];
  return [
    [...training, "--out", "one"],
    [...training, "--method", "lora", "--out", "two"],
    [...training, "--method", "full", "--out", "three"],
    ["inspect", "one", "--spectrum", "--against", "two"],
    ["convert", "one", "--to", "lora", "--rank", "4", "--out", "nearest"],
    ["analyze", "cka", model, "--reference", "three", "--adapter", "one", "--adapter", "two", "--data", valid],
    ["analyze", "plane", model, "--at", "one", "--at", "three", "--at", "two", "--data", valid, "--grid", "3"],
    ["budget", model, "--params", "100K"],
  ];
}

const TOOL = {
  type: "function",
  function: {
    name: "look",
    description: "looks for somebody",
    parameters: {
      type: "object",
      properties: { who: { type: "string" }, far: { type: "integer" } },
      required: ["who"],
    },
  },
};

/** Calls of a tool that may, must and have been; answers of a schema and of a grammar; embeddings. */
function tools({ made }: Inputs): Served {
  const chat = "/v1/chat/completions";
  const messages = [{ role: "user", content: QUESTION }];
  const call = { id: "call1", type: "function", function: { name: "look", arguments: '{"who":"Mira"}' } };
  const asked = { model: "own", messages, temperature: 0, max_tokens: 32 };
  const called = [...messages, { role: "assistant", content: null, tool_calls: [call] }];
  const answered = [...called, { role: "tool", tool_call_id: "call1", content: "by the harbor" }];
  const format = { type: "json_schema", json_schema: { name: "seen", schema: TOOL.function.parameters } };
  return {
    serve: [join(made, "tools"), "--adapter", "own=run", "--kv-type", "q8_0"],
    requests: [
      [chat, { ...asked, tools: [TOOL] }],
      [chat, { ...asked, tools: [TOOL], tool_choice: "required" }],
      [chat, { ...asked, tools: [TOOL], messages: answered }],
      [chat, { ...asked, response_format: format }],
      ["/v1/embeddings", { model: "own", input: ["Ahoy", QUESTION] }],
      ["/api/chat", { model: "own", messages, stream: false, options: { seed: 3, num_predict: 16 } }],
    ],
  };
}

export const MODEL_CASES: readonly Case[] = [
  ...Object.keys(ARCHITECTURES).map(architecture),
  architecture("packed"),
  // RandLoRA is the case `resumed`.
  ...METHOD_NAMES.filter((name) => name !== "randlora").map(resumed),
  { name: "gguf", commands: gguf },
  { name: "gguf-architectures", commands: ggufArchitectures },
  { name: "combine", commands: combine },
  { name: "analyses", commands: analyses },
  {
    name: "tools",
    commands: (inputs) => [["finetune", join(inputs.made, "tools"), ...embedded(inputs).data, ...SHORT]],
    served: tools,
  },
];
