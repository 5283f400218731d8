import type { Checkpoint, Divisions } from "../../files/safetensors/checkpoint.ts";
import type { WholeTensor } from "../../files/safetensors/header.ts";
import { checkTensors, inParts, type PlannedMatrix, storedIn } from "../tensor-plan.ts";
import { asStored, plannedIn } from "../description.ts";
import { type DecoderConfig, isOfOtherPart, type PlannedLayer } from "./config.ts";

/** The checkpoint's name of an output matrix. */
export const UNTIED_HEAD = "lm_head.weight";

/** Every matrix that a decoder reads from its checkpoint. */
export function plannedMatrices({
  embedding,
  positions,
  layerTable,
  layerInputs,
  layers,
  norm,
  head,
  headBias,
}: DecoderConfig): PlannedMatrix[] {
  return plannedIn([embedding, positions, layerTable, layerInputs, layers, norm, head, headBias]).filter(
    ({ constant }) => constant === undefined,
  );
}

/** Is this tensor of a checkpoint computed, and so superfluous: a rope's angles, causal masks of GPT-2 and GPT-NeoX? */
export function isComputed(name: string): boolean {
  return /\.rotary_emb\.inv_freq$|(?:^|\.)(?:h\.\d+\.attn|layers\.\d+\.attention)\.(?:masked_)?bias$/.test(name);
}

/** The decoder by the names that a checkpoint with these tensors has for its matrices, with the output matrix that it has. */
export function storedDecoder(decoder: DecoderConfig, tensors: ReadonlyMap<string, unknown>): DecoderConfig {
  const { headWhereStored, otherLayers, ...config } = asStored(decoder, tensors);
  const isThere = ({ parts }: PlannedMatrix) => parts.every(({ name }) => tensors.has(name));
  const hasAll = (some: readonly PlannedLayer[]) => plannedIn(some).every(isThere);
  const isOther = otherLayers !== undefined && hasAll(otherLayers) && !hasAll(config.layers);
  const layers = isOther ? otherLayers : config.layers;
  const head = headWhereStored !== undefined && isThere(headWhereStored) ? headWhereStored : config.head;
  return { ...config, layers, head };
}

/** Tensors of all experts of a layer, which are to be read as those of each: what is adapted and trained. */
export function dividedExperts(decoder: DecoderConfig, tensors: readonly WholeTensor[]): Divisions {
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const divisions = new Map<string, readonly WholeTensor[]>();
  for (const planned of [...plannedMatrices(decoder), ...plannedIn(decoder.otherLayers)]) {
    const [whole, ...others] = storedIn(shapes, planned).parts;
    if (whole === undefined || others.length > 0) continue;
    const { parts } = inParts(planned, whole.name);
    if (parts.length < 2) continue;
    if (String(shapes.get(whole.name)) !== String(whole.stored)) continue;
    divisions.set(
      whole.name,
      parts.map(({ name, stored }) => ({ name, shape: stored })),
    );
  }
  return divisions;
}

/**
 * Does the checkpoint hold exactly these?
 * @returns the decoder by the names that the checkpoint has for its matrices
 * @throws RandloraError `model`; see `checkTensors`
 */
export function checkPlan(decoder: DecoderConfig, checkpoint: Checkpoint): DecoderConfig {
  const config = storedDecoder(decoder, checkpoint.tensors);
  const { architecture, head } = config;
  checkTensors(plannedMatrices(config), checkpoint, {
    architecture,
    // Tables that are computed, the copy that a tied head is, and what other parts of the model have.
    isSuperfluous: (name) =>
      isComputed(name) || (head === undefined && name === UNTIED_HEAD) || isOfOtherPart(config, name),
  });
  return config;
}
