import { type PlannedMatrix, plannedMatrix, plannedVector, type Stored } from "../tensor-plan.ts";
import { type EncoderConfig, planEncoder } from "./encoder.ts";
import { plannedIn } from "../description.ts";
import { CHANNELS, type Size } from "./patches.ts";

/** A vision transformer (arXiv:2010.11929): patches, a class token, positions, layers. */
export interface VisionConfig {
  readonly encoder: EncoderConfig;
  /** Of the images whose positions the checkpoint has. */
  readonly image: Size;
  readonly patch: Size;
  /** What transformers' own classifier reads: the last hidden states of these, side by side. */
  readonly features: readonly ("class token" | "mean of patches")[];
  readonly names: VisionNames;
}

/** What a checkpoint calls the tensors (with their shapes) and modules of a vision transformer beside its layers. */
export interface VisionNames {
  readonly classToken: Stored;
  readonly positions: Stored;
  readonly patches: string;
  readonly patchBias: boolean;
  /** Before the first layer (CLIP); undefined: there is none. */
  readonly firstNorm: string | undefined;
  readonly lastNorm: string;
  /** What the last norm is of: the class token alone, where hidden states are otherwise those of the last layer (CLIP). */
  readonly lastNormOf: "class token" | "all";
}

/** The matrices of the tower beside its layers, by their roles. */
export type PlannedVision = {
  /** A product of one column with it puts the class token where it belongs; likewise the patches' bias. */
  readonly classToken: PlannedMatrix;
  readonly patchBias: PlannedMatrix | undefined;
  readonly patches: PlannedMatrix;
  readonly positions: PlannedMatrix;
  readonly firstNorm: PlannedMatrix | undefined;
  readonly firstNormBias: PlannedMatrix | undefined;
  readonly lastNorm: PlannedMatrix;
  readonly lastNormBias: PlannedMatrix;
};

/** Every tensor of the tower. */
export function planVision(config: VisionConfig): PlannedMatrix[] {
  return plannedIn([planEmbedding(config), planEncoder(config.encoder)]);
}

/** Names and shapes of the tensors beside the layers. */
export function planEmbedding({ encoder, patch, names }: VisionConfig): PlannedVision {
  const { width } = encoder;
  const [height, across] = patch;
  const vector = (name: string | undefined) => (name === undefined ? undefined : plannedVector([name, [width]]));
  const { patches, firstNorm, lastNorm } = names;
  return {
    classToken: plannedMatrix(1, names.classToken),
    patchBias: names.patchBias ? plannedMatrix(1, [`${patches}.bias`, [width]]) : undefined,
    patches: plannedMatrix(CHANNELS * height * across, [`${patches}.weight`, [width, CHANNELS, height, across]]),
    positions: plannedMatrix(width, names.positions),
    firstNorm: vector(firstNorm && `${firstNorm}.weight`),
    firstNormBias: vector(firstNorm && `${firstNorm}.bias`),
    lastNorm: plannedVector([`${lastNorm}.weight`, [width]]),
    lastNormBias: plannedVector([`${lastNorm}.bias`, [width]]),
  };
}
