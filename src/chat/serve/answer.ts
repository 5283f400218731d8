import { RandloraError } from "../../files/errors.ts";
import { endOf } from "../generation/outbox.ts";
import type { Reply } from "../generation/reply.ts";
import { laterSeed } from "../../compute/random/seed.ts";
import { AnswerText, type Piece } from "./answer-text.ts";
import { ApiError } from "./api-error.ts";
import type { Client } from "./client.ts";
import type { Echo } from "./echo.ts";
import type { Engine } from "./engine.ts";
import { EventStream } from "./event-stream.ts";
import type { FinishReason } from "../generation/next-token.ts";
import type { GenerationRequest } from "./fields.ts";
import type { ServedModel } from "./models.ts";
import { type Choice, type Shape, timingsOf, usageOf } from "./shapes.ts";

/** A prompt. */
export interface Prompt {
  readonly ids: readonly number[];
  /** What stands before every completion; undefined: nothing. */
  readonly echo?: Echo | undefined;
}

/** A request that was understood: what to generate, and how to format it. */
export interface Assignment {
  readonly request: GenerationRequest;
  readonly client: Client;
  readonly model: ServedModel;
  readonly prompts: readonly Prompt[];
  readonly context: number;
  readonly shape: Shape;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Told of failures that the client gets no details of. */
  readonly onFailure: (error: unknown) => void;
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
  const { request, shape, signal } = assignment;
  const left = new AbortController();
  const stop = leaveWith(signal, left);
  try {
    const texts = submitAll(engine, assignment, left).map(async (written) => {
      const pieces: Piece[] = [];
      const reply = await endOf(written, (told) => void (typeof told === "number" || pieces.push(told)));
      return { reply, pieces };
    });
    const all = await Promise.all(texts);
    assignment.onWritten();
    const choices = all.map(({ reply: { finishReason }, pieces }): Choice => {
      const tokens = request.topLogprobs === undefined ? undefined : pieces.flatMap((piece) => piece.tokens ?? []);
      return { text: pieces.map(({ text }) => text).join(""), finishReason, tokens };
    });
    const usage = usageOf(
      all.map(({ reply }) => reply),
      request.choices,
    );
    return Response.json(shape.whole(choices, usage));
  } catch (error) {
    left.abort();
    throw toApiError(error, assignment.onFailure);
  } finally {
    stop();
  }
}

function streamed(engine: Engine, assignment: Assignment): Response {
  const { request, shape, signal } = assignment;
  const left = new AbortController();
  const stream = new EventStream(() => left.abort());
  const stop = leaveWith(signal, left);
  let texts: readonly AsyncGenerator<Told, Written>[];
  try {
    for (const index of textsOf(assignment).keys()) {
      const begin = shape.begin(index);
      if (begin !== undefined) stream.send(begin);
    }
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
        stream.send(shape.end(index, value.finishReason));
        return value;
      }
      if (typeof value === "number") stream.comment(`place ${value}`);
      else stream.send(shape.piece(index, value.text, value.tokens));
      // Nothing more is made for a client that does not take what there is.
      await stream.room();
    }
  };
  const finish = async (): Promise<void> => {
    using _ = stream;
    try {
      const written = await Promise.all(texts.map(send));
      if (request.includeUsage) stream.send(shape.usage(usageOf(written, request.choices), timingsOf(written)));
      stream.done();
    } catch (error) {
      left.abort();
      // The status has been sent: an event with an error is how OpenAI's API says it.
      stream.send(toApiError(error, assignment.onFailure).toJSON());
    } finally {
      stop();
      assignment.onWritten();
    }
  };
  void finish();
  return stream.response();
}

/** The completions of an answer, in its order: all of the first prompt, then those of the next. */
function textsOf({ request, prompts }: Assignment): { readonly prompt: Prompt; readonly number: number }[] {
  return prompts.flatMap((prompt) => Array.from({ length: request.choices }, (_, number) => ({ prompt, number })));
}

/** A piece of a text, or its place among those that wait. */
type Told = Piece | number;

/** A reply that came to its end. */
type Written = Reply & { readonly finishReason: FinishReason };

/**
 * Has all completions generated.
 * @returns what comes of each
 * @throws ApiError as `Engine.submit`; then whoever calls aborts those that have been submitted
 */
function submitAll(
  engine: Engine,
  assignment: Assignment,
  left: AbortController,
): readonly AsyncGenerator<Told, Written>[] {
  const { request, client, model, context } = assignment;
  const { sampling, maxTokens, stops, topLogprobs } = request;
  return textsOf(assignment).map(({ prompt, number }) => {
    const options = {
      sampling: { ...sampling, seed: laterSeed(sampling.seed, number) },
      maxTokens,
      stops,
      topLogprobs,
      promptLogprobs: prompt.echo === undefined ? undefined : topLogprobs,
      context,
      signal: left.signal,
    };
    const written = engine.submit({ client, model, ids: prompt.ids, options });
    return shown(written, new AnswerText(prompt.echo, topLogprobs !== undefined), left.signal);
  });
}

/** The pieces of a text as they are shown. @throws the signal's reason when it is aborted */
async function* shown(
  written: ReturnType<Engine["submit"]>,
  text: AnswerText,
  signal: AbortSignal,
): AsyncGenerator<Told, Written> {
  for (;;) {
    const { done, value } = await written.next();
    if (done === true) {
      const { finishReason } = value;
      if (finishReason === "cancelled") throw signal.reason;
      const rest = text.rest(value);
      if (rest !== undefined) yield rest;
      return { ...value, finishReason };
    }
    if (value.place !== undefined) yield value.place;
    for (const piece of text.pieces(value)) yield piece;
  }
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
  return new ApiError(500, "the server failed; its log says more", { cause: error });
}
