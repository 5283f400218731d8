import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import type { Attention } from "../blocks/attention.ts";
import type { Block } from "../blocks/block.ts";
import type { Mlp } from "../blocks/mlp.ts";
import type { Norm } from "../blocks/norm.ts";
import { architectureOf } from "../decoder/architectures/index.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { UNTIED_HEAD } from "../decoder/weight-plan.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** Where a module of a checkpoint goes, and what is done to its numbers. */
export interface GgufModule {
  readonly name: string;
  /** Elements of the heads whose rows are brought into llama.cpp's order; 0: none are. */
  readonly headSize: number;
  /** Added to every number: 1 for Gemma's norms, which store weight − 1. */
  readonly offset: number;
}

/** A tensor's place: its module's, with a name of its own. */
export type GgufPlace = GgufModule;

const known = new WeakMap<DecoderConfig, ReadonlyMap<string, GgufModule>>();

/** The place of the module `name` of a checkpoint (`model.layers.0.self_attn.q_proj`); undefined: it has none. */
export function ggufModule(name: string, config: DecoderConfig): GgufModule | undefined {
  const modules = known.get(config) ?? new Map(modulesOf(config));
  known.set(config, modules);
  return modules.get(name);
}

/**
 * Where the tensor `name` of a checkpoint goes in a GGUF file; undefined where it is left out, because llama.cpp does not
 * read it: the copy of a tied embedding, angles that are computed.
 * @throws RandloraError `model` naming a tensor that llama.cpp has no place for
 */
export function ggufPlace(name: string, config: DecoderConfig): GgufPlace | undefined {
  if (name.endsWith(".rotary_emb.inv_freq") || (name === UNTIED_HEAD && config.head === undefined)) return undefined;
  const dot = name.lastIndexOf(".");
  const [module, kind] = [name.slice(0, dot), name.slice(dot + 1)];
  const found = kind === "weight" || kind === "bias" ? ggufModule(module, config) : undefined;
  if (found === undefined) {
    const hint = "GGUF holds a language model's own tensors: leave out heads of other tasks and quantized weights";
    throw new RandloraError("model", `tensor ${quote(name)} has no place in GGUF's ${config.architecture}`, hint);
  }
  return { ...found, name: `${found.name}.${kind}` };
}

type Named = [module: string, place: GgufModule];

/** What llama.cpp calls the modules of a model, by what they do in it (gguf-py, tensor_mapping.py). */
function modulesOf(config: DecoderConfig): Named[] {
  const { architecture, embedding, norm, layers } = config;
  const { pairs = false, mlpNorm = "ffn_norm" } = architectureOf(architecture)?.gguf ?? {};
  return [
    ...named(embedding, ["token_embd"]),
    ...normNamed(norm, "output_norm"),
    ["lm_head", { name: "output", headSize: 0, offset: 0 }],
    ...layers.flatMap((layer, index) =>
      layer.flatMap((block) =>
        blockNamed(block, pairs, mlpNorm).map(([module, place]): Named => {
          return [module, { ...place, name: `blk.${index}.${place.name}` }];
        }),
      ),
    ),
  ];
}

function blockNamed({ before, mixer, after }: Block<PlannedMatrix>, isPermuted: boolean, mlpNorm: string): Named[] {
  return mixer.kind === "attention"
    ? [
        ...normNamed(before, "attn_norm"),
        ...attentionNamed(mixer, isPermuted),
        ...normNamed(after, "post_attention_norm"),
      ]
    : [
        ...normNamed(before, mlpNorm),
        ...(mixer.kind === "mlp" ? mlpNamed(mixer) : []),
        ...normNamed(after, "post_ffw_norm"),
      ];
}

/**
 * Hugging Face turns the first half of a head's rows with the second, llama.cpp in some architectures each row with its neighbor.
 */
function attentionNamed(attention: Attention<PlannedMatrix>, isPermuted: boolean): Named[] {
  const { qkv, queryNorm, keyNorm, output, headSize } = attention;
  const projections = named(qkv, qkv.parts.length === 1 ? ["attn_qkv"] : ["attn_q", "attn_k", "attn_v"]);
  return [
    ...projections.map(([module, place], at): Named => {
      return [module, isPermuted && at < 2 ? { ...place, headSize } : place];
    }),
    ...normNamed(queryNorm, "attn_q_norm"),
    ...normNamed(keyNorm, "attn_k_norm"),
    ...named(output.weight, ["attn_output"]),
  ];
}

function mlpNamed({ gateUp, up, output }: Mlp<PlannedMatrix>): Named[] {
  const isWhole = up === undefined && gateUp?.parts.length === 1;
  return [
    ...named(gateUp, isWhole ? ["ffn_up"] : ["ffn_gate", "ffn_up"]),
    ...named(up, ["ffn_up"]),
    ...named(output.weight, ["ffn_down"]),
  ];
}

function normNamed(norm: Norm<PlannedMatrix> | undefined, name: string): Named[] {
  return named(norm?.weight, [name], norm?.kind === "rms" ? norm.offset : 0);
}

function named(matrix: PlannedMatrix | undefined, names: readonly string[], offset = 0): Named[] {
  return (matrix?.parts ?? []).map((part, at): Named => {
    return [part.name.replace(/\.weight$/, ""), { name: names[at] ?? "", headSize: 0, offset }];
  });
}
