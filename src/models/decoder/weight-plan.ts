import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { checkTensors, type PlannedMatrix } from "../tensor-plan.ts";
import { asStored, plannedIn } from "../description.ts";
import type { DecoderConfig } from "./config.ts";

/** The checkpoint's name of an output matrix. */
export const UNTIED_HEAD = "lm_head.weight";

/** Every matrix that a decoder reads from its checkpoint. */
export function plannedMatrices({ embedding, layers, norm, head }: DecoderConfig): PlannedMatrix[] {
  return plannedIn([embedding, layers, norm, head]);
}

/**
 * Does the checkpoint hold exactly these?
 * @returns the decoder by the names that the checkpoint has for its matrices
 * @throws RandloraError `model`; see `checkTensors`
 */
export function checkPlan(decoder: DecoderConfig, checkpoint: Checkpoint): DecoderConfig {
  const config = asStored(decoder, checkpoint.tensors);
  const { architecture, head } = config;
  checkTensors(plannedMatrices(config), checkpoint, {
    architecture,
    // Tables that are computed, and the copy that a tied head is.
    isSuperfluous: (name) => name.endsWith(".rotary_emb.inv_freq") || (head === undefined && name === UNTIED_HEAD),
  });
  return config;
}
