import { RandloraError } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import { endOf } from "../generation/sequence.ts";
import { laterSeed } from "../../compute/random/seed.ts";
import type { LogitFilter } from "../generation/next-token.ts";
import type { AnswerParserOptions } from "../tools/answer-format.ts";
import { AnswerText, ChoiceParts, type Echo, type ShownPart } from "./answer-text.ts";
import { ApiError } from "./api-error.ts";
import type { Client, ServedModel } from "./job.ts";
import type { Engine } from "./engine.ts";
import { EventStream } from "./event-stream.ts";
import type { AnswerSettings } from "./fields.ts";
import {
  type Choice,
  type CountedReply,
  type Shape,
  type Timings,
  timingsOf,
  type Usage,
  usageOf,
} from "./shapes/shape.ts";

/** A prompt. */
export interface Prompt {
  readonly ids: readonly number[];
  /** What stands before every completion; undefined: nothing. */
  readonly echo?: Echo | undefined;
  /** How the answer is taken apart; undefined: it is text. */
  readonly parser?: AnswerParserOptions | undefined;
  /** Special tokens that are part of the text, and what it has for them. */
  readonly shownTokens?: ReadonlyMap<number, string> | undefined;
  /** What holds each text to a grammar, or biases it; made anew for each. */
  readonly filter?: (() => LogitFilter | undefined) | undefined;
}

/** A request that was understood: what to generate, and how to format it. */
export interface Assignment {
  readonly request: AnswerSettings;
  readonly client: Client;
  readonly model: ServedModel;
  readonly prompts: readonly Prompt[];
  readonly context: number;
  readonly shape: Shape;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Told of failures that the client gets no details of. */
  readonly onFailure: (error: unknown) => void;
  /** Told of tokens of prompts and answers as they are used, whether or not the answer is taken to its end. */
  readonly onTokens: (count: number) => void;
  /** Told what each text took, whether or not it came to its end. */
  readonly onUsage: (usage: Usage, timings: Timings) => void;
  /** Told when an answer that was begun is complete, and only has to be taken. */
  readonly onWritten: () => void;
}

/**
 * Has completions generated and answers with them, whole or as a stream.
 * @throws ApiError when the engine takes no more; for a whole answer also what `toApiError` makes of a failure
 */
export async function answer(engine: Engine, assignment: Assignment): Promise<Response> {
  return assignment.request.stream ? streamed(engine, assignment) : await whole(engine, assignment);
}

async function whole(engine: Engine, assignment: Assignment): Promise<Response> {
  const { shape, signal } = assignment;
  const left = new AbortController();
  const stop = leaveWith(signal, left);
  try {
    const written = await Promise.all(submitAll(engine, assignment, left).map((text) => endOf(text)));
    const { choices, usage, timings } = summaryOf(written, assignment);
    assignment.onWritten();
    return Response.json(shape.whole(choices, usage, timings));
  } catch (error) {
    left.abort();
    throw toApiError(error, assignment.onFailure);
  } finally {
    stop();
  }
}

function streamed(engine: Engine, assignment: Assignment): Response {
  const { shape, signal } = assignment;
  const left = new AbortController();
  const stream = new EventStream(shape.framing, () => left.abort());
  const stop = leaveWith(signal, left);
  let texts: readonly AsyncGenerator<Told, Written>[];
  try {
    for (const index of textsOf(assignment).keys()) stream.send(...shape.begin(index));
    texts = submitAll(engine, assignment, left);
  } catch (error) {
    left.abort();
    stop();
    stream[Symbol.dispose]();
    throw error;
  }
  const send = async (text: AsyncGenerator<Told, Written>, index: number): Promise<Written> => {
    for (;;) {
      const { done, value } = await text.next();
      if (done === true) {
        stream.send(...shape.end(index, value.choice, texts.length > 1 ? undefined : timingsOf([value.reply]).llama));
        return value;
      }
      if (typeof value === "number") stream.comment(`place ${value}`);
      else stream.send(...shape.piece(index, value, value.tokens));
      // Nothing more is made for a client that does not take what there is.
      await stream.room();
    }
  };
  const finish = async (): Promise<void> => {
    using _ = stream;
    try {
      const { choices, usage, timings } = summaryOf(await Promise.all(texts.map(send)), assignment);
      stream.send(...shape.finish(choices, usage, timings));
      stream.done();
    } catch (error) {
      left.abort();
      // The status has been sent.
      stream.send(shape.fail(toApiError(error, assignment.onFailure)));
    } finally {
      stop();
      assignment.onWritten();
    }
  };
  void finish();
  return stream.response();
}

/** What is told of an answer when all of its texts have ended. */
function summaryOf(
  written: readonly Written[],
  { request }: Assignment,
): { readonly choices: readonly Choice[]; readonly usage: Usage; readonly timings: Timings } {
  const replies = written.map(({ reply }) => reply);
  const choices = written.map(({ choice }) => choice);
  return { choices, usage: usageOf(replies, request.choices), timings: timingsOf(replies) };
}

/** The completions of an answer, in its order: all of the first prompt, then those of the next. */
function textsOf({ request, prompts }: Assignment): { readonly prompt: Prompt; readonly number: number }[] {
  return prompts.flatMap((prompt) => Array.from({ length: request.choices }, (_, number) => ({ prompt, number })));
}

/** A part of a text, or its place among those that wait. */
type Told = ShownPart | number;

/** A text that came to its end. */
interface Written {
  readonly reply: CountedReply;
  readonly choice: Choice;
}

/**
 * Has all completions generated.
 * @returns the parts of each as they are shown; ends with the signal's reason when that is aborted
 * @throws ApiError as `Engine.submit`; then whoever calls aborts those that have been submitted
 */
function submitAll(
  engine: Engine,
  assignment: Assignment,
  left: AbortController,
): readonly AsyncGenerator<Told, Written>[] {
  const { request, client, model, context, onTokens, onUsage } = assignment;
  const { sampling, maxTokens, stops, topLogprobs } = request;
  const texts = textsOf(assignment);
  const jobs = texts.map(({ prompt, number }) => {
    const options = {
      sampling: { ...sampling, seed: laterSeed(sampling.seed, number) },
      filter: prompt.filter?.(),
      shownTokens: prompt.shownTokens,
      maxTokens,
      stops,
      topLogprobs,
      promptLogprobs: prompt.echo === undefined ? undefined : topLogprobs,
      context,
      signal: left.signal,
    };
    return { client, model, ids: prompt.ids, options };
  });
  const written = engine.submit(jobs);
  return texts.map(async function* ({ prompt, number }, at): AsyncGenerator<Told, Written> {
    const text = new AnswerText(prompt.echo, topLogprobs !== undefined);
    const parts = new ChoiceParts(prompt.parser, topLogprobs !== undefined);
    const pieces = itemAt(written, at);
    for (;;) {
      const { done, value } = await pieces.next();
      if (done === true) {
        const { finishReason } = value;
        // A prompt counts once, as in the answer's usage, and only if it begins.
        const counted = number === 0 ? value : { ...value, promptTokens: 0, cachedTokens: 0 };
        onUsage(usageOf([{ ...counted, reasoningTokens: 0 }], 1), timingsOf([value]));
        if (finishReason === "cancelled") throw left.signal.reason;
        yield* parts.push(text.rest(value));
        yield* parts.end();
        const reasoningTokens = parts.reasoningTokens(value.offsets);
        return { reply: { ...value, reasoningTokens }, choice: parts.choice(finishReason) };
      }
      if (value === 0) onTokens(number === 0 ? prompt.ids.length : 0);
      else if (typeof value === "number") yield value;
      if (typeof value === "number") continue;
      if (value.isToken === true) onTokens(1);
      for (const piece of text.pieces(value)) yield* parts.push(piece);
    }
  });
}

/** Aborts with a signal, whose promise this is not. @returns what ends that */
function leaveWith(signal: AbortSignal, left: AbortController): () => void {
  const leave = (): void => left.abort();
  signal.addEventListener("abort", leave, { once: true });
  if (signal.aborted) leave();
  return () => signal.removeEventListener("abort", leave);
}

/** What a client is told of an error: its own mistakes in full, ours only that there was one. */
export function toApiError(error: unknown, onFailure: (error: unknown) => void): ApiError {
  if (error instanceof ApiError) return error;
  // The client has left; nobody reads this.
  if (error instanceof DOMException && error.name === "AbortError") return new ApiError(499, "cancelled");
  if (error instanceof RandloraError && (error.code === "data" || error.code === "usage")) {
    return new ApiError(400, error.message, { cause: error });
  }
  onFailure(error);
  if (error instanceof RandloraError && error.code === "memory") {
    return new ApiError(503, `${error.message}: try again later, or ask for less`, { cause: error });
  }
  return new ApiError(500, "the server failed; its log says more", { cause: error });
}
