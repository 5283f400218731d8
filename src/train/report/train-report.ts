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
  /** With those before --resume. */
  readonly steps: number;
  /** Of the last step. */
  readonly loss: number | null;
  /** Of the last validation. */
  readonly valid_loss: number | null;
  /** Images only, from 0 to 1. */
  readonly valid_accuracy?: number | null;
  readonly best_step: number | null;
  /** Before the first step. */
  readonly valid_loss_before?: number | null;
  /** ‖ΔW‖/‖W‖ of the last weights, over a sample of them. */
  readonly relative_change?: number | null;
  readonly trainable_parameters: number;
  /** Supervised tokens of all steps, or images. */
  readonly tokens: number;
  /** Images left out, with --skip-bad-images. */
  readonly bad_images?: number;
  readonly estimated_gpu_bytes: number;
  readonly peak_gpu_bytes: number;
  /** With the CPU device's buffers. */
  readonly peak_rss_bytes: number;
  /** Without those before --resume. */
  readonly seconds: number;
}
