import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { angles, queryGrowth, type Rope } from "./rope-scaling.ts";

/** cos and sin of one rope for the rows of a pass; see OPS.rope. */
export interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** What each query is multiplied by (tokens, 1), and the number of each row (tokens, 1) U32: OPS.mixRows' operands; undefined: nothing. */
  readonly growth?: { readonly factors: Tensor; readonly places: Tensor } | undefined;
}

/** Every tensor of them. */
export function tensorsOfAngles({ cos, sin, growth }: Angles): Tensor[] {
  return [cos, sin, ...(growth === undefined ? [] : Object.values(growth))];
}

/**
 * Uploads the angles of every rope for tokens at these positions.
 * @param length of the sequence, or of the longest: what RoPE that depends on the length goes by
 */
export function uploadAngles(
  recorder: Recorder,
  ropes: readonly Rope[],
  length: number,
  positions: ArrayLike<number>,
): Angles[] {
  return ropes.map((rope) => {
    const { cos, sin } = angles(rope, length, positions);
    const shape = [positions.length, rope.size / 2] as const;
    const uploaded = { cos: recorder.upload("cos", shape, cos), sin: recorder.upload("sin", shape, sin) };
    if (rope.growth === undefined) return uploaded;
    const column = [positions.length, 1] as const;
    const factors = recorder.upload("growth", column, queryGrowth(rope.growth, positions));
    const places = recorder.upload(
      "rows",
      column,
      Uint32Array.from(positions, (_, row) => row),
    );
    return { ...uploaded, growth: { factors, places } };
  });
}
