import { THETA_BLOCK } from "../../device/families/theta.ts";
import type { KernelSource } from "../pipelines.ts";
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import thetaDeltaText from "./theta-delta.wgsl" with { type: "text" };
import thetaGradientText from "./theta-gradient.wgsl" with { type: "text" };
import thetaText from "./theta.wgsl" with { type: "text" };

/** Blocks that one workgroup of the sum handles. */
export const THETA_THREADS = 64;

const includes = { theta: thetaText, constants: constants({ block: THETA_BLOCK }) };
const delta = kernelFamily("theta-delta", thetaDeltaText, includes);
const gradient = kernelFamily("theta-gradient", thetaGradientText, includes);

/** Σ α_i θ_i of some rows of a layer. */
export const THETA_DELTA_KERNEL: KernelSource = delta({ THREADS: THETA_THREADS });

/** Parameters: see theta-delta.wgsl. */
export const thetaDeltaParameters = uniformStruct({
  count: "u32",
  width: "u32",
  pitch: "u32",
  targetAt: "u32",
  begin: "vec2u",
  lineStep: "u32",
  lineCol: "u32",
  cols: "u32",
  bases: "u32",
  alphaAt: "u32",
  accumulate: "flag",
  key: "vec2u",
  scale: "f32",
});

/** What one workgroup of the gradient handles at once: 64 threads with a sum for each basis, 8 KB of workgroup memory. */
export const THETA_TILE = { blocks: 64, bases: 32 } as const;

/** Σ_e G[e] · θ_i[e] of some rows of a layer, slice by slice. */
export const THETA_GRADIENT_KERNEL: KernelSource = gradient({ THREADS: THETA_TILE.blocks, BASES: THETA_TILE.bases });

/** Parameters: see theta-gradient.wgsl. */
export const thetaGradientParameters = uniformStruct({
  count: "u32",
  width: "u32",
  pitch: "u32",
  gAt: "u32",
  begin: "vec2u",
  bases: "u32",
  rounds: "u32",
  key: "vec2u",
});
