import type { KernelTime } from "../compute/device/device.ts";
import type { Quantized } from "../models/placed-weights.ts";
import type { Ending, Unit } from "./types.ts";

/** What a run came to. */
export interface TrainResult {
  readonly run: string;
  readonly ending: Ending;
  /** Steps done, those before a resume included. */
  readonly steps: number;
  /** Of them, those before a resume. */
  readonly stepsBefore: number;
  /** Of the last step; undefined when none was done. */
  readonly loss: number | undefined;
  /** The last one; undefined without a validation set. */
  readonly validLoss: number | undefined;
  /** Likewise, of tasks that tell classes apart. */
  readonly validAccuracy?: number | undefined;
  readonly bestStep: number | undefined;
  /** The step of the last validation. */
  readonly validatedStep?: number | undefined;
  readonly trainableParameters: number;
  /** The frozen weights that are quantized. */
  readonly quantized?: Quantized | undefined;
  /** Supervised tokens, or images, of all steps. */
  readonly tokens: number;
  readonly unit: Unit;
  /** Images that were left out because they cannot be read, where that was asked for. */
  readonly badImages?: number | undefined;
  readonly estimatedGpuBytes: number;
  /** Live buffer bytes at most, by our own count. */
  readonly peakGpuBytes: number;
  /** Of this process; not of those before a resume. */
  readonly seconds: number;
  /** GPU time by kernel, of this process; empty unless it was asked for. */
  readonly profile: readonly KernelTime[];
}
