import type { Ending } from "../types.ts";

/** What `finetune --json` prints of a run. Losses are means in nats. */
export interface TrainReport {
  /** The run folder. */
  readonly run: string;
  readonly ending: Ending;
  /** Steps done, those before a resume included. */
  readonly steps: number;
  /** Of the last step; null when none was done. */
  readonly loss: number | null;
  /** The last one; null without a validation set. */
  readonly valid_loss: number | null;
  /** Of images: the part that is taken for what it is. */
  readonly valid_accuracy?: number | null;
  readonly best_step: number | null;
  /** Before the first step. */
  readonly valid_loss_before?: number | null;
  /** ‖ΔW‖/‖W‖ of the last weights, over some of them; null where it was not measured. */
  readonly relative_change?: number | null;
  readonly trainable_parameters: number;
  /** Supervised tokens, or images, of all steps. */
  readonly tokens: number;
  /** Images that were left out because they cannot be read, where that was asked for. */
  readonly bad_images?: number;
  readonly estimated_gpu_bytes: number;
  readonly peak_gpu_bytes: number;
  readonly peak_rss_bytes: number;
  /** Of this process; not of those before a resume. */
  readonly seconds: number;
}
