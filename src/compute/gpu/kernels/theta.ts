import { THETA_BLOCK } from "../../device/families/theta.ts";
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import thetaDeltaText from "./theta-delta.wgsl" with { type: "text" };
import thetaGradientText from "./theta-gradient.wgsl" with { type: "text" };
import thetaText from "./theta.wgsl" with { type: "text" };

/** Parameters of theta-delta.wgsl. */
const thetaDeltaParameters = uniformStruct({
  count: "u32", // elements of a line
  width: "u32", // of them in a row of the target: in, or 1 where the target is (in, out)
  pitch: "u32", // of the target, from row to row
  targetAt: "u32", // elements before the first line's first one
  begin: "vec2u", // the first line's first element, in the bases
  lineStep: "u32", // elements from line to line in the bases
  lineCol: "u32", // the first line's column of the target
  cols: "u32", // of the target
  bases: "u32",
  alphaAt: "u32", // elements before the first coefficient
  accumulate: "flag", // the target is added to, not assigned
  key: "vec2u",
  scale: "f32",
});

/** Parameters of theta-gradient.wgsl. */
const thetaGradientParameters = uniformStruct({
  count: "u32", // elements of G here
  width: "u32", // in: of them in a row
  pitch: "u32", // of G, from row to row
  gAt: "u32", // elements before the first
  begin: "vec2u", // the first element, in the bases
  bases: "u32",
  rounds: "u32", // of THREADS blocks, in a slice
  key: "vec2u",
});

/** Blocks that one workgroup of the sum handles. */
export const THETA_THREADS = 64;

const includes = { theta: thetaText, constants: constants({ block: THETA_BLOCK }) };
const delta = kernelFamily("theta-delta", thetaDeltaText, thetaDeltaParameters, includes);
const gradient = kernelFamily("theta-gradient", thetaGradientText, thetaGradientParameters, includes);

/** Σ α_i θ_i of some rows of a layer. */
export const THETA_DELTA_KERNEL = delta({ THREADS: THETA_THREADS });

/** What one workgroup of the gradient handles at once: 64 threads with a sum for each basis, 8 KB of workgroup memory. */
export const THETA_TILE = { blocks: 64, bases: 32 } as const;

/** Σ_e G[e] · θ_i[e] of some rows of a layer, slice by slice. */
export const THETA_GRADIENT_KERNEL = gradient({ THREADS: THETA_TILE.blocks, BASES: THETA_TILE.bases });
