// Numbers of a decoder that llama.cpp is told.
import { architectureOf } from "../decoder/architectures/index.ts";
import type { ConfigJson } from "../decoder/config-file.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";
import type { Experts } from "../blocks/experts.ts";
import type { GatedDelta } from "../blocks/gated-delta.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** The first of its mixtures of experts. */
export function expertsOf({ layers }: DecoderConfig): Experts<PlannedMatrix> | undefined {
  return layers.flat().flatMap(({ mixer }) => (mixer.kind === "experts" ? [mixer] : []))[0];
}

/** A number of the gated delta rule. */
export function ofRule(of: (rule: GatedDelta<PlannedMatrix>) => number): (config: DecoderConfig) => number | undefined {
  return ({ layers }) => {
    const [rule] = layers.flat().flatMap(({ mixer }) => (mixer.kind === "gated-delta" ? [mixer] : []));
    return rule && of(rule);
  };
}

/** Of convolutions. */
export function tapsOf({ hiddenSize, layers }: DecoderConfig): number | undefined {
  return layers
    .flat()
    .flatMap(({ mixer }) => (mixer.kind === "convolution" ? [mixer.weight.cols / hiddenSize] : []))[0];
}

/** Elements of a head of layers that see a window, where these have a rope of their own. */
export function slidingHead(config: DecoderConfig): number | undefined {
  return attentionsOf(config).find(({ rope }) => rope === 1)?.headSize;
}

/** Left out where llama.cpp's own rule, hidden size by heads, is all that its converter relies on. */
export function saidHeadSize(config: DecoderConfig, json: ConfigJson, arch: string): number | undefined {
  if (["phi3", "granite", "granitemoe", "gpt2"].includes(arch)) return undefined;
  const headSize = attentionsOf(config).at(-1)?.headSize;
  return !["qwen2", "qwen2moe"].includes(arch) || (json.head_dim ?? undefined) !== undefined ? headSize : undefined;
}

/** Its converter says more of Llama and what turns as Llama does. */
export function isOfLlama({ architecture }: DecoderConfig): boolean {
  return architectureOf(architecture)?.gguf?.pairs === true;
}

/** Every how many layers one has attention, by the first that has. */
export function attentionPeriod({ layers }: DecoderConfig): number {
  return 1 + layers.findIndex((layer) => layer.some(({ mixer }) => mixer.kind === "attention"));
}

/** The first window of any layer, where llama.cpp is told of it. */
export function slidingWindow(config: DecoderConfig, _: unknown, arch: string): number | undefined {
  const window = attentionsOf(config)
    .map((layer) => layer.window)
    .find(Number.isFinite);
  // Phi 4 is told from Phi 3 by its 0.
  if (arch === "phi3") return window ?? 0;
  return arch.startsWith("gemma") || ["olmo2", "exaone4", "cohere2", "gpt-oss"].includes(arch) ? window : undefined;
}
