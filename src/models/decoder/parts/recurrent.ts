import type { Convolution } from "../../blocks/convolution.ts";
import type { GatedDelta } from "../../blocks/gated-delta.ts";
import { type PlannedMatrix, plannedVector } from "../../tensor-plan.ts";
import { biases, type Module, output, rmsNorm, type Sizes, weights } from "./modules.ts";

/** More than any convolution has that is called short. */
export const MOST_TAPS = 256;

/** A convolution over `taps` positions between two gates, whose modules are below `path`. */
export function convolution(path: string, hidden: number, taps: number, bias: boolean): Convolution<PlannedMatrix> {
  const modules: readonly Module[] = [[`${path}.in_proj`, 3 * hidden]];
  return {
    kind: "convolution",
    input: weights(hidden, modules),
    inputBias: bias ? biases(modules) : undefined,
    weight: plannedVector([`${path}.conv.weight`, [hidden, 1, taps]]),
    bias: bias ? biases([[`${path}.conv`, hidden]]) : undefined,
    output: output([`${path}.out_proj`, hidden], hidden, bias),
  };
}

/** The gated delta rule, whose modules are below `path`, and whose projections are those of Qwen 3.5, or Qwen3-Next's two. */
export function gatedDelta(
  path: string,
  { hidden, epsilon, activation }: Sizes,
  sizes: Pick<GatedDelta, "keyHeads" | "keySize" | "heads" | "valueSize" | "taps" | "grouped">,
): GatedDelta<PlannedMatrix> {
  const { keyHeads, keySize, heads, valueSize, taps, grouped } = sizes;
  const [keys, values] = [keyHeads * keySize, heads * valueSize];
  const columns = 2 * keys + values;
  const modules: readonly (readonly [string, number])[] = grouped
    ? [
        ["in_proj_qkvz", columns + values],
        ["in_proj_ba", 2 * heads],
      ]
    : [
        ["in_proj_qkv", columns],
        ["in_proj_z", values],
        ["in_proj_b", heads],
        ["in_proj_a", heads],
      ];
  return {
    kind: "gated-delta",
    ...sizes,
    activation,
    input: {
      ...weights(
        hidden,
        modules.map(([name, rows]): Module => [`${path}.${name}`, rows]),
      ),
      padded: !grouped,
    },
    weight: plannedVector([`${path}.conv1d.weight`, [columns, 1, taps]]),
    decays: plannedVector([`${path}.A_log`, [heads]], [`${path}.dt_bias`, [heads]]),
    norm: rmsNorm(`${path}.norm`, valueSize, epsilon),
    output: output([`${path}.out_proj`, hidden], values, false),
  };
}
