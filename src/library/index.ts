/*
 * `import { merge, finetune, chat } from "randlora"` (docs/library.md): what the commands of those names do, with their options, and
 * nothing printed.
 */
import { type MergeReport, MERGE_OPTIONS } from "../adapters/merge/to-files/options.ts";
import { SERVE_OPTIONS, type ServeJson } from "../chat/serve/options.ts";
import { COMPARE_OPTIONS, type CompareJson } from "../measure/compare/options.ts";
import { CHATS_OPTIONS, COMMONSENSE_OPTIONS, FORGETTING_OPTIONS, PERPLEXITY_OPTIONS } from "../measure/eval/options.ts";
import { ACCURACY_OPTIONS, EMBED_OPTIONS, type EmbeddingsJson } from "../measure/images/options.ts";
import type { Context } from "../terminal/options/command.ts";
import type { TrainReport } from "../train/report/train-report.ts";
import { FINETUNE_OPTIONS } from "../train/settings/options.ts";
import type { TrainObserver } from "../train/types.ts";
import { quietContext, resultOf } from "./context.ts";
import { type Given, needList, needText, type Options, type Settled, settledOptions } from "./options.ts";
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
export async function merge({ base, adapters = [], ...request }: MergeRequest): Promise<MergeReport> {
  return await resultOf(MERGE_OPTIONS, request, async (options, context) => {
    const { mergeToFiles } = await import("../adapters/merge/to-files/merge-command.ts");
    await mergeToFiles(needText("base", base), needList("adapters", adapters), options, context);
  });
}

const { dryRun: _, noShuffle, ...TRAINING_OPTIONS } = FINETUNE_OPTIONS;

/** What is said otherwise than on the command line. */
interface Order {
  /** False: samples in the file's order. */
  readonly shuffle?: boolean | undefined;
}

/** What {@link finetune} takes: the options of `randlora finetune`, in camelCase. */
export interface FinetuneRequest extends Given<typeof TRAINING_OPTIONS>, Order, Surroundings {
  /** A folder, `org/name` on the Hub, or `embedded`; left out where a run is resumed. */
  readonly model?: string | undefined;
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
  const { model, shuffle, onStart, onStep, onEvaluation, ...given } = request;
  const watch = {
    ...(onStart && { start: onStart }),
    ...(onStep && { step: onStep }),
    ...(onEvaluation && { evaluation: onEvaluation }),
  };
  const order = orderOf(shuffle);
  return await resultOf(TRAINING_OPTIONS, given, async (options, context) => {
    const { finetuneModel } = await import("../train/command/finetune-command.ts");
    await finetuneModel(model, { ...options, ...order, dryRun: false }, context, watch);
  });
}

/** @throws RandloraError `usage` for what is no boolean */
function orderOf(shuffle: boolean | undefined): { readonly noShuffle: boolean | undefined } {
  const settled = settledOptions({ shuffle: noShuffle }, { shuffle });
  return { noShuffle: settled.shuffle === undefined ? undefined : !settled.shuffle };
}

/** Job arrays are the command line's. */
const NO_JOB = { job: undefined, jobs: undefined, parts: undefined };
type Alone<O extends Options> = Given<Omit<O, keyof typeof NO_JOB>>;

const { dryRun: _plan, noShuffle: _order, job: _job, jobs: _jobs, ...COMPARISON_OPTIONS } = COMPARE_OPTIONS;

/** What {@link compare} takes: the options of `randlora compare`, in camelCase. */
export interface CompareRequest extends Given<typeof COMPARISON_OPTIONS>, Order, Surroundings {
  readonly model?: string | undefined;
}

/**
 * Trains a model by several methods at equally many parameters. An aborted signal ends it after a step: `ending` is "interrupted".
 * @returns what `compare --json` prints
 * @throws RandloraError; the signal's reason before the first run
 */
export async function compare({ model, shuffle, ...request }: CompareRequest): Promise<CompareJson> {
  const order = orderOf(shuffle);
  return await resultOf(COMPARISON_OPTIONS, request, async (options, context) => {
    const { compareMethods } = await import("../measure/compare/compare-command.ts");
    await compareMethods(model, { ...options, ...order, ...NO_JOB, dryRun: false }, context);
  });
}

/** What the functions of {@link evaluate} take: the options of `randlora eval`, in camelCase. */
export type EvaluateRequest<O extends Options> = Alone<O> & Surroundings & { readonly model: string };

type Evaluate<O extends Options, R extends object> = (
  model: string,
  options: Settled<O>,
  context: Context<R>,
) => Promise<void>;

function evaluation<O extends Options, R extends object>(options: O, load: () => Promise<Evaluate<O, R>>) {
  return async ({ model, ...request }: EvaluateRequest<O>): Promise<R> =>
    await resultOf(options, request, async (settled, context: Context<R>) => {
      const run = await load();
      await run(needText("model", model), { ...settled, ...NO_JOB }, context);
    });
}

/** Measures a model, as `randlora eval chats` and so on. Each resolves to what `--json` prints. @throws RandloraError; the signal's reason */
export const evaluate = {
  chats: evaluation(CHATS_OPTIONS, async () => (await import("../measure/eval/chats-command.ts")).evalChats),
  commonsense: evaluation(
    COMMONSENSE_OPTIONS,
    async () => (await import("../measure/eval/commonsense-command.ts")).evalCommonsense,
  ),
  forgetting: evaluation(
    FORGETTING_OPTIONS,
    async () => (await import("../measure/eval/forgetting-command.ts")).evalForgetting,
  ),
  images: evaluation(ACCURACY_OPTIONS, async () => (await import("../measure/images/accuracy-command.ts")).evalImages),
  perplexity: evaluation(
    PERPLEXITY_OPTIONS,
    async () => (await import("../measure/eval/measure-texts.ts")).evalPerplexity,
  ),
};

/** What {@link embed} takes: the options of `randlora embed`, in camelCase. */
export interface EmbedRequest extends Given<typeof EMBED_OPTIONS>, Surroundings {
  /** CLIP or DINOv2. */
  readonly model: string;
  /** Files; left out with `prompt`. */
  readonly images?: readonly string[] | undefined;
}

/** Embeds images, or a text. @returns what `embed --json` prints @throws RandloraError; the signal's reason */
export async function embed({ model, images = [], ...request }: EmbedRequest): Promise<EmbeddingsJson> {
  return await resultOf(EMBED_OPTIONS, request, async (options, context) => {
    const { embed: run } = await import("../measure/images/embed-command.ts");
    await run(needText("model", model), needList("images", images), options, context);
  });
}

/** What {@link serve} takes: the options of `randlora serve`, in camelCase. */
export interface ServeRequest extends Given<typeof SERVE_OPTIONS>, Surroundings {
  readonly model: string;
}

/** A server that listens, with what `serve --json` prints. Disposing of it closes it. */
export interface Server extends ServeJson, AsyncDisposable {
  /** Resolves when it has stopped, as `close` and an aborted signal make it. @throws what ended it */
  readonly closed: Promise<void>;
  /** Running answers have five seconds; then the memory and the device are given back. @throws as `closed` */
  close(): Promise<void>;
}

/** Serves a model and its adapters. @throws RandloraError; the signal's reason before it listens */
export async function serve({ model, signal, ...request }: ServeRequest): Promise<Server> {
  const { device, threads, onProgress, onNote, ...given } = request;
  const options = settledOptions(SERVE_OPTIONS, given);
  const stop = new AbortController();
  const context = quietContext({ device, threads, onProgress, onNote, signal: anyOf(stop.signal, signal) });
  const { serve: run } = await import("../chat/serve/serve-command.ts");
  const { promise: listens, resolve } = Promise.withResolvers<ServeJson>();
  const closed = run(needText("model", model), options, { ...context, result: resolve });
  closed.catch(() => {}); // thrown where it is awaited
  const close = async () => {
    stop.abort();
    await closed;
  };
  const stopped = closed.then(() => context.signal.throwIfAborted());
  const report = await Promise.race([listens, stopped]);
  if (report === undefined) throw new TypeError("a server that never listened");
  return { ...report, closed, close, [Symbol.asyncDispose]: close };
}

function anyOf(own: AbortSignal, others: AbortSignal | undefined): AbortSignal {
  return AbortSignal.any(others === undefined ? [own] : [own, others]);
}
