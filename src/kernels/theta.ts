import type { KernelSource } from "../gpu/pipelines.ts";
import { kernelFamily } from "./family.ts";
import thetaDeltaText from "./theta-delta.wgsl" with { type: "text" };
import thetaGradientText from "./theta-gradient.wgsl" with { type: "text" };
import thetaText from "./theta.wgsl" with { type: "text" };

/** Elements of the bases that are drawn together. */
export const THETA_BLOCK = 16;
/** Blocks that one workgroup handles at once. */
export const THETA_THREADS = 64;
/** Bases that one workgroup of the gradient handles. */
export const THETA_BASES = 32;

const delta = kernelFamily("theta-delta", thetaDeltaText, { theta: thetaText });
const gradient = kernelFamily("theta-gradient", thetaGradientText, { theta: thetaText });

/** Σ α_i θ_i of some rows of a layer. Parameters: see theta-delta.wgsl. */
export const THETA_DELTA_KERNEL: KernelSource = delta({ THREADS: THETA_THREADS });

/** Σ_e G[e] · θ_i[e] of some rows of a layer, slice by slice. Parameters: see theta-gradient.wgsl. */
export const THETA_GRADIENT_KERNEL: KernelSource = gradient({ THREADS: THETA_THREADS, BASES: THETA_BASES });
