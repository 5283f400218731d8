import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { angles, type Rope } from "./rope-scaling.ts";

/** cos and sin of one rope for the rows of a pass; see OPS.rope. */
export interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
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
    return { cos: recorder.upload("cos", shape, cos), sin: recorder.upload("sin", shape, sin) };
  });
}
