// What llama.cpp calls the weights of a block, by what they do in it (gguf-py, tensor_mapping.py), and how it has their elements.
import type { Attention } from "../blocks/attention.ts";
import type { Block } from "../blocks/block.ts";
import type { Convolution, GatedDelta } from "../blocks/gated-delta.ts";
import type { Experts } from "../blocks/experts.ts";
import type { Mlp } from "../blocks/mlp.ts";
import type { GgufArchitecture } from "../decoder/architectures/common.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";
import {
  type GgufPlace,
  headPlaces,
  inTurns,
  type Named,
  named,
  normNamed,
  type Order,
  pairedRows,
  type Strip,
} from "./place.ts";

/** What an architecture of llama.cpp says of a block's names and rows. */
type OfBlock = Required<Pick<GgufArchitecture, "pairs" | "apart" | "mlpNorm">>;

export function blockNamed({ whole, ...block }: Block<PlannedMatrix>, of: OfBlock): Named[] {
  return [...mixerNamed(block, of), ...named(whole, ["layer_output_scale"])];
}

function mixerNamed({ before, mixer, after, parallel }: Block<PlannedMatrix>, of: OfBlock): Named[] {
  if (mixer.kind === "mlp" || mixer.kind === "experts") {
    const isBeside = mixer.kind === "experts" && mixer.beside !== undefined;
    return [
      // One norm that attention and MLP read is attention's.
      ...normNamed(parallel === true ? undefined : before, isBeside ? "pre_ffw_norm_2" : of.mlpNorm),
      ...(mixer.kind === "mlp" ? mlpNamed(mixer, of.apart) : expertsNamed(mixer)),
      ...normNamed(after, "post_ffw_norm"),
    ];
  }
  if (mixer.kind === "layer-input") {
    return [
      ...named(mixer.gate, ["inp_gate"]),
      ...named(mixer.output.weight, ["proj"]),
      ...normNamed(after, "post_norm"),
    ];
  }
  return [
    ...normNamed(before, "attn_norm"),
    ...(mixer.kind === "attention"
      ? attentionNamed(mixer, of.pairs)
      : mixer.kind === "convolution"
        ? convolutionNamed(mixer)
        : gatedDeltaNamed(mixer)),
    ...normNamed(after, "post_attention_norm"),
  ];
}

/**
 * Hugging Face turns the first half of a head's rows with the second, llama.cpp in some architectures each row with its neighbor.
 */
function attentionNamed(attention: Attention<PlannedMatrix>, isPaired: boolean): Named[] {
  const { qkv, queryNorm, keyNorm, sinks, output, headSize } = attention;
  const isWhole = qkv.parts.length === 1 && attention.keysOf === undefined;
  const projections = named(qkv, isWhole ? ["attn_qkv"] : ["attn_q", "attn_k", "attn_v"]);
  return [
    ...projections.map(([module, place], at): Named => {
      return [module, isPaired && at < 2 ? { ...place, order: pairedRows(headSize) } : place];
    }),
    ...normNamed(queryNorm, "attn_q_norm"),
    ...normNamed(keyNorm, "attn_k_norm"),
    ...named(sinks, ["attn_sinks"]),
    ...named(output.weight, ["attn_output"]),
  ];
}

/**
 * @param isApart one tensor of gate and up becomes two
 * @param end behind the names of an expert that all tokens go through
 */
function mlpNamed({ gateUp, up, output }: Mlp<PlannedMatrix>, isApart = false, end = ""): Named[] {
  const names = [`ffn_gate${end}`, `ffn_up${end}`];
  const isWhole = up === undefined && gateUp?.parts.length === 1;
  const [inner, hidden] = [output.weight.cols, gateUp?.cols ?? 0];
  const strips = names.map((name): Strip => ({ name, shape: [inner, hidden], first: 0, rows: inner }));
  return [
    ...named(gateUp, isWhole ? names.slice(1) : names, isWhole && isApart ? { strips } : {}),
    ...named(up, names.slice(1)),
    ...named(output.weight, [`ffn_down${end}`]),
  ];
}

function convolutionNamed({ input, weight, output }: Convolution<PlannedMatrix>): Named[] {
  return [
    ...named(input, ["shortconv.in_proj"]),
    ...named(weight, ["shortconv.conv"], { exact: true }),
    ...named(output.weight, ["shortconv.out_proj"]),
  ];
}

/**
 * A file has three tensors of all experts, or of Gemma 4 gate and up of each in one; a checkpoint each expert's matrices, or gate and up of
 * each expert in one tensor: one below the other, or interleaved in gpt-oss. llama.cpp adds experts' biases in
 * F32 alone.
 */
function expertsNamed(experts: Experts<PlannedMatrix>): Named[] {
  const { router, routerNorm, gateUp, gateUpBias, down, downBias, scales, count, selection, shared, beside, clamp } =
    experts;
  const [hidden, inner] = [router.cols, down.cols];
  const ordered = (of: Order["of"]) => (clamp === undefined ? {} : { order: { places: inTurns(inner), of } });
  const gateOrUp = ["ffn_gate_exps", "ffn_up_exps"];
  /** Of so many matrices, gate and up of each expert in turns. */
  const gateUpStrip = (at: number): Strip => {
    const rows = { first: at * inner, rows: inner };
    if (beside !== undefined) return { name: "ffn_gate_up_exps", shape: [count, 2 * inner, hidden], ...rows };
    const first = Math.floor(at / 2) * inner;
    return { ...rows, name: gateOrUp[at % 2] ?? "", shape: [count, inner, hidden], first };
  };
  return [
    ...named(router, ["ffn_gate_inp"], { exact: true }),
    ...named(routerNorm?.weight, ["ffn_gate_inp"], { suffix: ".scale" }),
    ...named(selection, ["exp_probs_b"], { suffix: ".bias" }),
    ...named(gateUp, []).map(([module, place], at): Named => {
      const own = (2 * count) / gateUp.parts.length;
      const strips = Array.from({ length: own }, (_, one) => gateUpStrip(at * own + one));
      return [module, { ...place, strips, ...ordered("rows") }];
    }),
    ...named(gateUpBias, gateOrUp, {
      suffix: ".bias",
      exact: true,
      ...ordered("parts"),
      strips: Array.from({ length: 2 * count }, (_, one): Strip => {
        return { name: gateOrUp[one % 2] ?? "", shape: [count, inner], first: Math.floor(one / 2), rows: 1 };
      }),
    }),
    ...named(downBias, ["ffn_down_exps"], { suffix: ".bias", exact: true }),
    ...named(down, ["ffn_down_exps"]).map(([module, place], expert): Named => {
      const strip = { name: "ffn_down_exps", shape: [count, hidden, inner], first: expert * hidden, rows: hidden };
      return [module, down.parts.length === 1 ? place : { ...place, strips: [strip] }];
    }),
    ...named(scales, ["ffn_down_exps"], { suffix: ".scale" }),
    ...named(shared?.gate, ["ffn_gate_inp_shexp"], {
      exact: true,
      strips: [{ name: "ffn_gate_inp_shexp", shape: [hidden], first: 0, rows: hidden }],
    }),
    ...(shared === undefined ? [] : mlpNamed(shared.mlp, false, "_shexp")),
    ...normNamed(beside?.before, "ffn_norm"),
    ...(beside === undefined ? [] : mlpNamed(beside.mlp)),
    ...normNamed(beside?.after, "post_ffw_norm_1"),
    ...normNamed(beside?.afterExperts, "post_ffw_norm_2"),
  ];
}

/**
 * Qwen3-Next's two projections are by head of keys in a checkpoint, and llama.cpp has queries, keys and values of all heads one behind
 * the other. Qwen 3.5's are so in both, with heads of values in another order.
 */
function gatedDeltaNamed(mixer: GatedDelta<PlannedMatrix>): Named[] {
  const { keyHeads, keySize, heads, valueSize, grouped, taps, input, weight, decays, norm, output } = mixer;
  const [keys, values, shared] = [keyHeads * keySize, heads * valueSize, heads / keyHeads];
  const places = grouped || shared === 1 ? undefined : headPlaces(keyHeads, heads);
  const tensor =
    (name: string, rows: number, cols?: number) =>
    (first: number, some: number): Strip => {
      return { name, shape: cols === undefined ? [rows] : [rows, cols], first, rows: some };
    };
  const { cols } = input;
  const [qkv, z] = [tensor("attn_qkv", 2 * keys + values, cols), tensor("attn_gate", values, cols)];
  /** Rows behind the first ones, so many of each head of values. */
  const ofHeads = (strip: ReturnType<typeof tensor>, size: number, before = 0): Partial<GgufPlace> => {
    if (places === undefined) return {};
    const moved = places.map((place) => strip(before + place * size, size));
    return { strips: before === 0 ? moved : [strip(0, before), ...moved] };
  };
  const projections: readonly (readonly [string, Partial<GgufPlace>])[] = grouped
    ? [
        [
          "attn_qkv",
          {
            strips: Array.from({ length: keyHeads }, (_, head) => [
              qkv(head * keySize, keySize),
              qkv(keys + head * keySize, keySize),
              qkv(2 * keys + head * shared * valueSize, shared * valueSize),
              z(head * shared * valueSize, shared * valueSize),
            ]).flat(),
          },
        ],
        ["ssm_ba", {}],
      ]
    : [
        ["attn_qkv", ofHeads(qkv, valueSize, 2 * keys)],
        ["attn_gate", ofHeads(z, valueSize)],
        ["ssm_beta", ofHeads(tensor("ssm_beta", heads, cols), 1)],
        ["ssm_alpha", ofHeads(tensor("ssm_alpha", heads, cols), 1)],
      ];
  return [
    ...named(
      input,
      projections.map(([name]) => name),
    ).map(([module, place], at): Named => {
      return [module, { ...place, ...projections[at]?.[1] }];
    }),
    ...named(weight, ["ssm_conv1d"], {
      exact: true,
      ...ofHeads(tensor("ssm_conv1d", 2 * keys + values, taps), valueSize, 2 * keys),
    }),
    ...named(decays, ["ssm_a", "ssm_dt"]).map(([module, place], at): Named => {
      return [module, { ...place, ...OF_DECAYS[at], ...ofHeads(tensor(place.name, heads), 1) }];
    }),
    ...normNamed(norm, "ssm_norm"),
    ...named(output.weight, ["ssm_out"], places && { order: { places, of: "parts" } }),
  ];
}

/** A checkpoint has log A, and a file −A; the other is a bias there. */
const OF_DECAYS: readonly Partial<GgufPlace>[] = [
  { suffix: "", numbers: { to: (x) => -Math.exp(x), from: (x) => Math.log(-x) } },
  { suffix: ".bias" },
];
