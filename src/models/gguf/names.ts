import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import type { Attention } from "../blocks/attention.ts";
import type { Block } from "../blocks/block.ts";
import type { Convolution } from "../blocks/convolution.ts";
import type { Experts } from "../blocks/experts.ts";
import type { Mlp } from "../blocks/mlp.ts";
import type { Norm } from "../blocks/norm.ts";
import { architectureOf } from "../decoder/architectures/index.ts";
import { type DecoderConfig, isOfOtherPart } from "../decoder/config.ts";
import { isComputed, UNTIED_HEAD } from "../decoder/weight-plan.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** Rows of a tensor of a checkpoint that lie together in one of a GGUF file, which has the rows of others, too. */
export interface Strip {
  readonly name: string;
  /** Of the file's whole tensor, outermost first. */
  readonly shape: readonly number[];
  /** Rows before it there, and its own. */
  readonly first: number;
  readonly rows: number;
}

/** Where a module of a checkpoint, or a tensor of it, goes, and what is done to its elements. */
export interface GgufPlace {
  readonly name: string;
  /** One after another, what a file has in tensors of all experts, or apart; undefined: the tensor is one there as well. */
  readonly strips?: readonly Strip[] | undefined;
  /** Matrices that are never rounded. */
  readonly exact?: boolean;
  /** A matrix that the checkpoint stores transposed, and the file does not. */
  readonly transposed?: boolean;
  /** Elements of the heads whose rows are brought into llama.cpp's order; 0: none are. */
  readonly headSize: number;
  /** Added to every number: 1 for Gemma's norms, which store weight − 1. */
  readonly offset: number;
}

const known = new WeakMap<DecoderConfig, ReadonlyMap<string, GgufPlace>>();

/** The place of the module `name` of a checkpoint (`model.layers.0.self_attn.q_proj`); undefined: it has none. */
export function ggufModule(name: string, config: DecoderConfig): GgufPlace | undefined {
  const modules = known.get(config) ?? new Map(modulesOf(config));
  known.set(config, modules);
  return modules.get(name);
}

/**
 * Where the tensor `name` of a checkpoint goes in a GGUF file; undefined where it is left out, because llama.cpp does not
 * read it: the copy of a tied embedding, tables that are computed, other parts of a model.
 * @throws RandloraError `model` naming a tensor that llama.cpp has no place for
 */
export function ggufPlace(name: string, config: DecoderConfig): GgufPlace | undefined {
  if (isComputed(name) || (name === UNTIED_HEAD && config.head === undefined)) return undefined;
  if (isOfOtherPart(config, name)) return undefined;
  const dot = name.lastIndexOf(".");
  const [module, kind] = [name.slice(0, dot), name.slice(dot + 1)];
  // Tensors of all experts are no module's.
  const ofAll = ggufModule(name, config);
  if (ofAll !== undefined) return { ...ofAll, name: `${ofAll.name}.weight` };
  const found = kind === "weight" || kind === "bias" ? ggufModule(module, config) : undefined;
  if (found === undefined) {
    const hint = "GGUF holds a language model's own tensors: leave out heads of other tasks and quantized weights";
    throw new RandloraError("model", `tensor ${quote(name)} has no place in GGUF's ${config.architecture}`, hint);
  }
  return { ...found, name: `${found.name}.${kind}` };
}

/** Where the rows of a tensor of this shape are in a file, one strip after another. */
export function stripsOf(place: GgufPlace, stored: readonly number[]): readonly Strip[] {
  const { name, strips } = place;
  if (strips !== undefined) return strips;
  const shape = turnedShape(place, stored);
  const rows = shape.length > 1 ? shape.slice(0, -1).reduce((product, size) => product * size, 1) : (shape[0] ?? 1);
  // Without the axis of one channel that weights of convolutions have.
  const whole = shape.length === 3 && shape[1] === 1 ? [shape[0] ?? 1, shape[2] ?? 1] : shape;
  return [{ name, shape: whole, first: 0, rows }];
}

/** The shape that the file has, of a tensor of this one in the checkpoint. */
export function turnedShape({ transposed = false }: GgufPlace, shape: readonly number[]): readonly number[] {
  return transposed && shape.length === 2 ? shape.toReversed() : shape;
}

type Named = [module: string, place: GgufPlace];

/** What llama.cpp calls the modules of a model, by what they do in it (gguf-py, tensor_mapping.py). */
function modulesOf(config: DecoderConfig): Named[] {
  const { architecture, embedding, positions, norm, layers, head } = config;
  const { pairs = false, mlpNorm = "ffn_norm", lastNorm = "output_norm" } = architectureOf(architecture)?.gguf ?? {};
  return [
    ...named(embedding, ["token_embd"]),
    ...named(positions, ["position_embd"]).map(([module, place]): Named => [module, { ...place, exact: true }]),
    ...normNamed(norm, lastNorm),
    ["lm_head", { name: "output", headSize: 0, offset: 0 }],
    ...named(head, ["output"]),
    ...layers.flatMap((layer, index) =>
      layer.flatMap((block) =>
        blockNamed(block, pairs, mlpNorm).map(([module, place]): Named => {
          const begin = `blk.${index}.`;
          const strips = place.strips?.map((strip) => ({ ...strip, name: `${begin}${strip.name}.weight` }));
          return [module, { ...place, name: `${begin}${place.name}`, ...(strips && { strips }) }];
        }),
      ),
    ),
  ];
}

function blockNamed(
  { before, mixer, after, parallel }: Block<PlannedMatrix>,
  isPermuted: boolean,
  mlpNorm: string,
): Named[] {
  if (mixer.kind === "attention" || mixer.kind === "convolution") {
    return [
      ...normNamed(before, "attn_norm"),
      ...(mixer.kind === "attention" ? attentionNamed(mixer, isPermuted) : convolutionNamed(mixer)),
      ...normNamed(after, "post_attention_norm"),
    ];
  }
  // No architecture that has it is written as GGUF.
  if (mixer.kind === "gated-delta") return [];
  return [
    // One norm that attention and MLP read is attention's.
    ...normNamed(parallel === true ? undefined : before, mlpNorm),
    ...(mixer.kind === "mlp" ? mlpNamed(mixer) : expertsNamed(mixer)),
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

function convolutionNamed({ input, weight, output }: Convolution<PlannedMatrix>): Named[] {
  return [
    ...named(input, ["shortconv.in_proj"]),
    ...named(weight, ["shortconv.conv"]).map(([module, place]): Named => [module, { ...place, exact: true }]),
    ...named(output.weight, ["shortconv.out_proj"]),
  ];
}

/** A file has three tensors of all experts; a checkpoint each expert's matrices, or gate and up of each expert in one tensor. */
function expertsNamed({ router, gateUp, down, count }: Experts<PlannedMatrix>): Named[] {
  const [hidden, inner] = [router.cols, down.cols];
  const strip = (name: string, expert: number): Strip => {
    const [rows, cols] = name === "ffn_down_exps" ? [hidden, inner] : [inner, hidden];
    return { name, shape: [count, rows, cols], first: expert * rows, rows };
  };
  const gateOrUp = ["ffn_gate_exps", "ffn_up_exps"];
  return [
    ...named(router, ["ffn_gate_inp"]).map(([module, place]): Named => [module, { ...place, exact: true }]),
    ...named(gateUp, []).map(([module, place], at): Named => {
      const strips =
        gateUp.parts.length === 1
          ? Array.from({ length: 2 * count }, (_, one) => strip(gateOrUp[one % 2] ?? "", Math.floor(one / 2)))
          : [strip(gateOrUp[at % 2] ?? "", Math.floor(at / 2))];
      return [module, { ...place, strips }];
    }),
    ...named(down, ["ffn_down_exps"]).map(([module, place], expert): Named => {
      return [module, down.parts.length === 1 ? place : { ...place, strips: [strip("ffn_down_exps", expert)] }];
    }),
  ];
}

function normNamed(norm: Norm<PlannedMatrix> | undefined, name: string): Named[] {
  return named(norm?.weight, [name], norm?.kind === "rms" ? norm.offset : 0);
}

function named(matrix: PlannedMatrix | undefined, names: readonly string[], offset = 0): Named[] {
  return (matrix?.parts ?? []).map((part, at): Named => {
    const place = {
      name: names[at] ?? "",
      headSize: 0,
      offset,
      ...(matrix?.transposed === true && { transposed: true }),
    };
    return [part.name.replace(/\.weight$/, ""), place];
  });
}
