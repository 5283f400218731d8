import type { ProfileJson } from "../../terminal/profile.ts";
import type { QuantizedJson } from "../../terminal/quantized.ts";
import type { Ending } from "../types.ts";

/**
 * What `finetune --json` prints of a run. Losses are means in nats.
 * @json finetune
 */
export interface TrainReport extends QuantizedJson, ProfileJson {
  /** Run folder. */
  readonly run: string;
  readonly ending: Ending;
  /** Steps done, those before a resume included. */
  readonly steps: number;
  /** Of the last step; null if none was done. */
  readonly loss: number | null;
  /** Last validation loss; null without validation data. */
  readonly valid_loss: number | null;
  /** Images only, from 0 to 1. */
  readonly valid_accuracy?: number | null;
  readonly best_step: number | null;
  /** Validation loss before the first step. */
  readonly valid_loss_before?: number | null;
  /** ‖ΔW‖/‖W‖ of the last weights, over a sample of them; null if not measured. */
  readonly relative_change?: number | null;
  readonly trainable_parameters: number;
  /** Supervised tokens of all steps; of images, their number. */
  readonly tokens: number;
  /** Images left out, with --skip-bad-images. */
  readonly bad_images?: number;
  readonly estimated_gpu_bytes: number;
  readonly peak_gpu_bytes: number;
  /** Of the process, the CPU device's buffers included. */
  readonly peak_rss_bytes: number;
  /** Of this process, not of those before --resume. */
  readonly seconds: number;
}
