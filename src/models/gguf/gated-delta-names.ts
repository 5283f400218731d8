import type { GatedDelta } from "../blocks/gated-delta.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";
import { headPlaces } from "./order.ts";
import { type GgufPlace, type Named, named, normNamed, type Strip } from "./place.ts";

/**
 * Qwen3-Next's two projections are by head of keys in a checkpoint, and llama.cpp has queries, keys and values of all heads one behind
 * the other. Qwen 3.5's are so in both, with heads of values in another order.
 */
export function gatedDeltaNamed(mixer: GatedDelta<PlannedMatrix>): Named[] {
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
