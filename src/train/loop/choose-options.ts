import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { type EngineOptions, estimateBytes } from "./engine.ts";
import { ALONE, gatherNumbers, type Processes } from "../../mpi/processes.ts";
import { freeBytes, megabytes, sharesMachine } from "../../compute/device/memory-limit.ts";
import { machineMemory } from "../../compute/device/machine-memory.ts";
import type { MethodSummary, PlaceOptions } from "../../adapters/method/training.ts";
import type { SavedState } from "../../models/folder/run-states.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { RunPlan, TrainedModel, TrainingSource } from "../model/subject.ts";

/** WebGPU does not tell how much memory a GPU has: what is spent beyond need is modest. */
const REAL_GPU_BUDGET = 4 * 2 ** 30;

/** How a run computes, and what that takes. */
export interface Chosen {
  readonly options: EngineOptions;
  readonly place: PlaceOptions;
  readonly bytes: number;
  /** What its states and folders take on the disk while one is saved, bases aside. */
  readonly diskBytes: number;
  readonly summary: MethodSummary;
  /** How the same is done with less memory, which takes more time; undefined where nothing is left to spare. */
  cheaper(): Promise<{ readonly chosen: Chosen; readonly how: string } | undefined>;
}

export interface ChooseOptions {
  /** That share the run: each has to have room for it, and what decides about bits is the same for all. */
  readonly processes?: Processes;
  /** Bytes, as far as they are known. */
  readonly free?: number;
}

/** What takes less memory than keeping activations and W', the dearest in time last. */
const SAVINGS = [
  { how: "activations are recomputed instead of kept", keepsProducts: true },
  { how: "the adapter's products are formed anew instead of kept", keepsProducts: false },
] as const;

/**
 * Staging, activation checkpointing and the method's own choices. A resumed run has those of its beginning as far as they
 * decide about bits: all but checkpointing, which is on where the run had it, where the settings ask for it, and, as other
 * ways to save memory, where the estimate exceeds what is left.
 * @throws RandloraError `usage` for a micro-batch of more tokens than the GPU takes at once; `memory` for a tensor that is
 *   too large for it; `format` where the state does not fit the model
 */
export async function chooseOptions<Batch>(
  gpu: Device,
  source: TrainingSource<Batch>,
  plan: RunPlan<Batch>,
  began: SavedState | undefined,
  warn: (line: string) => void,
  { processes = ALONE, free: own = freeOf(gpu, processes) }: ChooseOptions = {},
): Promise<Chosen> {
  const { betas, eps, weightDecay, gradClip, checkpointActivations } = source.settings;
  refuseTooManyTokens(gpu, source, plan);
  const { steps, validation } = plan;
  const free = await least(processes, own);
  const kernels = began?.progress.kernels;
  const staging = stagingOf(gpu, kernels?.staging);
  const wanted: PlaceOptions = {
    staging,
    tokens: source.rowsOf(steps.largest),
    microBatches: microBatchesOf(source.settings),
    budget: await least(processes, spareBytes(gpu)),
    choices: kernels?.choices,
    choicesFile: began?.file,
  };
  const attempt = async (checkpointing: boolean, budget: number): Promise<Chosen> => {
    const optimizer = { betas, eps, weightDecay, gradClip };
    const options = { optimizer, checkpointing, staging, shards: source.settings.shards, processes };
    const counting = gpu.counting();
    const model = await source.place(counting, { ...wanted, budget });
    const bytes = await estimateBytes(counting, model, options, steps, validation);
    const { summary, method, result } = model;
    const { choices } = method;
    const cheaper = async () => {
      for (const { how, keepsProducts } of SAVINGS) {
        const chosen = await attempt(true, keepsProducts ? budget : 0);
        if (chosen.bytes < bytes) return { chosen, how };
      }
      return undefined;
    };
    // What was chosen for the estimate is what will run.
    const diskBytes = savedBytes(source, summary, result, { steps: steps.length, hasBest: validation !== undefined });
    return { options, place: { ...wanted, budget, choices }, bytes, diskBytes, summary, cheaper };
  };
  let chosen = await attempt(kernels?.checkpointing === true || checkpointActivations, wanted.budget);
  while (chosen.bytes > free) {
    const less = await chosen.cheaper();
    const [needed, left] = [chosen.bytes, free].map(megabytes);
    if (less === undefined) {
      warn(`about ${needed} are needed and ${left} are free: the run may find no room; close other programs`);
      break;
    }
    warn(`about ${needed} would be needed and ${left} are free: ${less.how}`);
    ({ chosen } = less);
  }
  return chosen;
}

/**
 * States of parameters and their two moments, one more than are kept but no more than the run writes, and folders: the
 * newest and the best, each with the one before it.
 */
function savedBytes<Batch>(
  { settings, bytes }: TrainingSource<Batch>,
  { trainableParameters }: MethodSummary,
  result: TrainedModel<Batch>["result"],
  { steps, hasBest }: { readonly steps: number; readonly hasBest: boolean },
): number {
  const folder = result === "model" ? bytes : 4 * trainableParameters;
  const states = Math.min(settings.keep, Math.ceil(steps / (settings.saveEvery ?? 1))) + 1;
  return states * 12 * trainableParameters + (hasBest ? 4 : 2) * folder;
}

/** Most micro-batches whose gradients are added up before others' are. */
function microBatchesOf({ batchSize, gradAccum, shards }: TrainSettings): number {
  return Math.ceil(Math.ceil((batchSize * gradAccum) / shards) / batchSize);
}

/** Kernels give each token a workgroup, or a row of them. */
function refuseTooManyTokens<Batch>(
  gpu: Device,
  source: TrainingSource<Batch>,
  { steps, validation }: RunPlan<Batch>,
): void {
  const most = gpu.limits.maxRows;
  for (const [plan, of] of [
    [steps, ""],
    [validation, " of the validation data"],
  ] as const) {
    const tokens = plan === undefined ? 0 : source.rowsOf(plan.largest);
    if (tokens <= most) continue;
    const cause = `--batch-size ${source.settings.batchSize}: a micro-batch${of} has ${tokens} tokens, and this GPU takes at most ${most} at once`;
    throw new RandloraError("usage", cause, `give ${source.smaller}`);
  }
}

/** Bytes that a process may take: those on one machine share what is free of it. */
function freeOf(gpu: Device, { local }: Processes): number {
  return sharesMachine(gpu.info) ? freeBytes(gpu) / local.size : freeBytes(gpu);
}

async function least(processes: Processes, own: number): Promise<number> {
  return Math.min(...(await gatherNumbers(processes, [own])));
}

/** Bytes that may be spent to save time. */
export function spareBytes({ info }: Device): number {
  return info.software ? machineMemory().total / 8 : REAL_GPU_BUDGET;
}

/** What a state calls real GPUs' staging with integer dot products. */
const INTEGER_DOTS = "workgroup, integer dots";

/** What it calls the CPU device's. When their bits change so do these names: a run that began with others is told of it. */
const CPU_WASM = "cpu, wasm, routines";
const CPU_FMA = "cpu, machine code";

/** How a state names a staging. */
export function stagingName(staging: Staging): string {
  if (staging.kind === "cpu") return staging.fma === true ? CPU_FMA : CPU_WASM;
  return staging.kind === "workgroup" && staging.integerDots === true ? INTEGER_DOTS : staging.kind;
}

/** The staging that a run began with, where this device can have it; else the device's usual one. */
export function stagingOf({ staging: usual }: Pick<Device, "staging">, name: string | undefined): Staging {
  if (name === undefined || name === stagingName(usual)) return usual;
  if (usual.kind === "cpu") return name === CPU_WASM ? { kind: "cpu" } : usual;
  if (name === INTEGER_DOTS) return { kind: "workgroup", integerDots: true };
  return name === "workgroup" ? { kind: "workgroup" } : usual;
}

/** Why a run's results will not be those that the device would give on which it began; undefined where they will. */
export function otherResults(
  device: Pick<Device, "info" | "staging">,
  { gpu: began, kernels }: Pick<SavedState["progress"], "gpu" | "kernels">,
): string | undefined {
  if (began === undefined) return undefined;
  const { info } = device;
  const isSame =
    device.staging.kind === "cpu"
      ? // Its bits follow from the staging alone.
        kernels?.staging === stagingName(stagingOf(device, kernels?.staging))
      : began.driver === info.driver && began.name === info.name;
  if (isSame) return undefined;
  const differ = "its results will differ in the last bits";
  if (began.name !== info.name) return `the run began on ${began.name}; on ${info.name} ${differ}`;
  if (began.driver !== info.driver) return `the run began on ${began.driver}; on driver ${info.driver} ${differ}`;
  return `the run began with another version's kernels; ${differ}`;
}
