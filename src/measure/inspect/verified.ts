import verified from "./verified.json";

/** What the interop suite holds models to. */
export const CHECKS = {
  logits: "transformers' logits (of images: embeddings) within 1e-3 of the largest",
  texts: "transformers' greedy tokens",
  beams: "transformers' beam search: texts and scores",
  training: "PEFT's loss at every step within 0.2 %",
  merge: "PEFT's merged weights, or what they compute, within 1e-3 of the largest",
  quantize: "with --quantize, the perplexity of weights that Python's gguf rounded",
  gguf: "the tensors, types and metadata that Python's gguf writes",
  "llama.cpp": "the tokens that llama.cpp decodes from our GGUF file",
} as const;
/** The name of one of them. */
export type Check = keyof typeof CHECKS;

/** Weights that nobody published: a tiny model of the architecture. */
export const RANDOM = "random";

/** By `model_type` and weights, the day on which a check was last passed. `bun interop/verified.ts` writes it. */
export type Verified = Readonly<Record<string, Readonly<Record<string, Readonly<Partial<Record<Check, string>>>>>>>;

/** What was verified of a `model_type`: nothing of one that no suite has run. */
export function verifiedOf(type: string): Verified[string] {
  return (verified as Verified)[type] ?? {};
}
