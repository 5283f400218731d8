import type { Gpu } from "../gpu/gpu.ts";
import { defaultStaging, type Staging } from "../kernels/staging.ts";
import type { RunPlan } from "./data.ts";
import type { EngineOptions } from "./engine.ts";
import { estimateBytes } from "./estimate.ts";
import { machineMemory } from "./machine-memory.ts";
import type { MethodSummary, PlaceOptions } from "./method.ts";
import type { ModelSource } from "./model.ts";
import type { Progress } from "./state.ts";

/** WebGPU does not tell how much memory a GPU has: what is spent beyond need is modest. */
const REAL_GPU_BUDGET = 4 * 2 ** 30;

/** How a run computes, and what that takes. */
export interface Chosen {
  readonly options: EngineOptions;
  readonly place: PlaceOptions;
  readonly bytes: number;
  readonly summary: MethodSummary;
}

/**
 * Staging and activation checkpointing: as the run began; else checkpointing where the settings ask for it, or where the
 * estimate exceeds the memory that is left.
 * @param free bytes, known only of software GPUs: theirs are the machine's
 */
export async function chooseOptions(
  gpu: Gpu,
  source: ModelSource,
  { steps, validation }: RunPlan,
  began: Partial<Progress["kernels"]> | undefined,
  warn: (line: string) => void,
  free = gpu.info.software ? machineMemory().free : Infinity,
): Promise<Chosen> {
  const { betas, eps, weightDecay, gradClip, gradAccum, checkpointActivations } = source.settings;
  const staging = stagingOf(gpu, began?.staging);
  const place: PlaceOptions = {
    staging,
    tokens: steps.largest.tokens,
    microBatches: gradAccum,
    budget: spareBytes(gpu),
    choices: began?.choices,
  };
  const attempt = async (checkpointing: boolean): Promise<Chosen> => {
    const options = { optimizer: { betas, eps, weightDecay, gradClip }, checkpointing, staging };
    const counting = gpu.counting();
    const model = await source.place(counting, place);
    const bytes = await estimateBytes(counting, model, options, steps, validation);
    const { summary, choices } = model.method;
    // What was chosen for the estimate is what will run.
    return { options, place: { ...place, choices }, bytes, summary };
  };
  const chosen = await attempt(began?.checkpointing ?? checkpointActivations);
  if (chosen.bytes <= free || chosen.options.checkpointing || began?.checkpointing !== undefined) return chosen;
  const spared = await attempt(true);
  if (spared.bytes >= chosen.bytes) return chosen;
  const [needed, left] = [chosen.bytes, free].map((bytes) => `${Math.round(bytes / 1e6)} MB`);
  warn(`about ${needed} would be needed and ${left} are free: activations are recomputed instead of kept`);
  return spared;
}

/** Bytes that may be spent to save time. */
export function spareBytes({ info }: Gpu): number {
  return info.software ? machineMemory().total / 8 : REAL_GPU_BUDGET;
}

/** How a state names a staging. */
export function stagingName(staging: Staging): string {
  return staging.kind === "subgroup" ? `subgroup${staging.lanes}` : staging.kind;
}

/** The staging that a run began with, where this GPU can have it. */
function stagingOf(gpu: Gpu, name: string | undefined): Staging {
  const usual = defaultStaging(gpu);
  if (name === undefined || name === stagingName(usual)) return usual;
  return name === "workgroup" ? { kind: "workgroup" } : usual;
}
