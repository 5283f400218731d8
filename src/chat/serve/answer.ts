import { RandloraError } from "../../files/errors.ts";
import type { ReplyToken, SharedReply } from "../generation/shared-reply.ts";
import { laterSeed } from "../../compute/random/seed.ts";
import { AnswerText, type Piece } from "./answer-text.ts";
import { ApiError } from "./api-error.ts";
import type { Client } from "./client.ts";
import type { Echo } from "./echo.ts";
import type { Engine } from "./engine.ts";
import { EventStream } from "./event-stream.ts";
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
  const pieces: Piece[][] = textsOf(assignment).map(() => []);
  try {
    const replies = submitAll(engine, assignment, left, (index, piece) => void pieces[index]?.push(piece));
    const written = await Promise.all(replies);
    assignment.onWritten();
    const choices = written.map(({ finishReason }, index): Choice => {
      const of = pieces[index] ?? [];
      const tokens = request.topLogprobs === undefined ? undefined : of.flatMap((piece) => piece.tokens ?? []);
      return { text: of.map(({ text }) => text).join(""), finishReason, tokens };
    });
    return Response.json(shape.whole(choices, usageOf(written, request.choices)));
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
  let replies: readonly Promise<SharedReply>[];
  try {
    for (const index of textsOf(assignment).keys()) {
      const begin = shape.begin(index);
      if (begin !== undefined) stream.send(begin);
    }
    replies = submitAll(
      engine,
      assignment,
      left,
      (index, { text, tokens }) => stream.send(shape.piece(index, text, tokens)),
      (place) => stream.comment(`place ${place}`),
    );
  } catch (error) {
    left.abort();
    stop();
    stream[Symbol.dispose]();
    throw error;
  }
  const finish = async (): Promise<void> => {
    using _ = stream;
    try {
      const ends = replies.map(async (reply, index) => {
        const written = await reply;
        stream.send(shape.end(index, written.finishReason));
        return written;
      });
      const written = await Promise.all(ends);
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

/**
 * Has all completions generated, and hands out their text as it comes.
 * @returns the replies, all pieces of which have been handed out
 * @throws ApiError as `Engine.submit`; then whoever calls aborts those that have been submitted
 */
function submitAll(
  engine: Engine,
  assignment: Assignment,
  left: AbortController,
  onPiece: (index: number, piece: Piece) => void,
  onPlace?: (place: number) => void,
): readonly Promise<SharedReply>[] {
  const { request, client, model, context } = assignment;
  const { sampling, maxTokens, stops, topLogprobs } = request;
  const replies: Promise<SharedReply>[] = [];
  try {
    for (const [index, { prompt, number }] of textsOf(assignment).entries()) {
      const text = new AnswerText(prompt.echo, topLogprobs !== undefined);
      const show = (piece: Piece | undefined): void => {
        if (piece !== undefined) onPiece(index, piece);
      };
      const options = {
        sampling: { ...sampling, seed: laterSeed(sampling.seed, number) },
        maxTokens,
        stops,
        topLogprobs,
        promptLogprobs: prompt.echo === undefined ? undefined : topLogprobs,
        context,
        signal: left.signal,
        onPrompt: (tokens: SharedReply["prompt"]) => show(text.prompt(tokens)),
        onToken: (token: ReplyToken) => text.push(token),
        onText: (piece: string) => show(text.piece(piece)),
      };
      const reply = engine.submit({ client, model, ids: prompt.ids, options, onPlace });
      replies.push(
        reply.then((written) => {
          show(text.rest(written));
          return written;
        }),
      );
    }
    return replies;
  } finally {
    // One that fails ends the others, whose rejections nobody waits for.
    for (const reply of replies) reply.catch(() => {});
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
