/*
 * `import { merge, finetune, chat } from "randlora"` (docs/library.md): what the commands of those names do, with their options, and
 * nothing printed.
 */
import { RandloraError } from "../files/errors.ts";
import type { MergeReport } from "../adapters/merge/to-files/types.ts";
import { MERGE_OPTIONS } from "../adapters/merge/to-files/options.ts";
import type { TrainReport } from "../train/report/train-report.ts";
import { FINETUNE_OPTIONS } from "../train/settings/options.ts";
import type { TrainObserver } from "../train/types.ts";
import { quietContext } from "./context.ts";
import { type Given, needText, settledOptions } from "./options.ts";
import type { Surroundings } from "./surroundings.ts";

export { RandloraError, type ErrorCode } from "../files/errors.ts";
export type { NoteEvent, ProgressEvent, Surroundings } from "./surroundings.ts";
export { type Answer, type Chat, chat, type ChatRequest, openChat, type OpenChatRequest } from "./chat.ts";
export type { EvaluationMetrics, RunStart, StepMetrics } from "../train/types.ts";
export type { MergeReport, TrainReport };

/** What {@link merge} takes: the options of `randlora merge`, in camelCase. */
export interface MergeRequest extends Given<typeof MERGE_OPTIONS>, Surroundings {
  /** A model, or a run, which stands for its base and adapter. */
  readonly base: string;
  readonly adapters?: readonly string[] | undefined;
}

/** Adds adapters to a model's weights and writes the result. @returns what `merge --json` prints @throws RandloraError; the signal's reason */
export async function merge(request: MergeRequest): Promise<MergeReport> {
  const { base, adapters = [], device, threads, signal, onProgress, onNote, ...given } = request;
  const options = settledOptions(MERGE_OPTIONS, given);
  const context = quietContext({ device, threads, signal, onProgress, onNote });
  if (!Array.isArray(adapters)) throw new RandloraError("usage", "adapters is no list", "give adapters: [name, …]");
  const { mergeToFiles } = await import("../adapters/merge/to-files/merge-command.ts");
  return await mergeToFiles(needText("base", base), adapters, options, context);
}

const { dryRun: _, noShuffle, ...TRAINING_OPTIONS } = FINETUNE_OPTIONS;

/** What {@link finetune} takes: the options of `randlora finetune`, in camelCase. */
export interface FinetuneRequest extends Given<typeof TRAINING_OPTIONS>, Surroundings {
  /** A folder, `org/name` on the Hub, or `embedded`; left out where a run is resumed. */
  readonly model?: string | undefined;
  /** False: samples in the file's order. */
  readonly shuffle?: boolean | undefined;
  readonly onStart?: TrainObserver["start"] | undefined;
  readonly onStep?: TrainObserver["step"] | undefined;
  readonly onEvaluation?: TrainObserver["evaluation"] | undefined;
}

/**
 * Trains an adapter, or a whole model. An aborted signal ends the run after its step, which is saved: it resolves, with `ending` "interrupted".
 * @returns what `finetune --json` prints
 * @throws RandloraError; the signal's reason before the first step
 */
export async function finetune(request: FinetuneRequest): Promise<TrainReport> {
  const { model, shuffle, device, threads, signal, onProgress, onNote, onStart, onStep, onEvaluation, ...given } =
    request;
  const inOrder = shuffle === undefined ? undefined : !shuffle;
  const order = settledOptions({ noShuffle }, inOrder === undefined ? {} : { noShuffle: inOrder });
  const options = { ...settledOptions(TRAINING_OPTIONS, given), ...order, dryRun: false };
  const { finetuneModel } = await import("../train/command/finetune-command.ts");
  const context = quietContext({ device, threads, signal, onProgress, onNote });
  const report = await finetuneModel(model, options, context, {
    ...(onStart && { start: onStart }),
    ...(onStep && { step: onStep }),
    ...(onEvaluation && { evaluation: onEvaluation }),
  });
  if (report === undefined) throw new TypeError("a run without a report");
  return report;
}
