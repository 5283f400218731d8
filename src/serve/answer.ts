import { RandloraError } from "../errors.ts";
import type { ReplyToken } from "../generate/reply.ts";
import type { SharedReply } from "../generate/shared-reply.ts";
import { ApiError } from "./api-error.ts";
import type { Client } from "./client.ts";
import type { Echo } from "./echo.ts";
import type { Engine, Job } from "./engine.ts";
import { EventStream } from "./event-stream.ts";
import type { GenerationRequest } from "./fields.ts";
import type { ServedModel } from "./models.ts";
import { type Choice, type Shape, type ShownToken, usageOf } from "./shapes.ts";

/** A text to be continued. */
export interface Prompt {
  readonly ids: readonly number[];
  /** What stands before every text that is written; undefined: nothing. */
  readonly echo?: Echo | undefined;
}

/** A request that was understood: what to write, and how to word it. */
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
 * Has texts written and answers with them, whole or as a stream.
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
    const tokens = textsOf(assignment).map((): ReplyToken[] => []);
    const replies = submitAll(engine, assignment, left, (index) => ({
      onToken: (token) => void tokens[index]?.push(token),
    }));
    const written = await Promise.all(replies);
    assignment.onWritten();
    const choices = textsOf(assignment).map(({ prompt }, index) =>
      choiceOf(assignment, prompt, index, tokens, written),
    );
    return Response.json(shape.whole(choices, usageOf(written, assignment.request.choices)));
  } catch (error) {
    left.abort();
    throw toApiError(error, assignment.onFailure);
  } finally {
    stop();
  }
}

function choiceOf(
  { request: { topLogprobs } }: Assignment,
  { echo }: Prompt,
  index: number,
  tokens: readonly (readonly ReplyToken[])[],
  written: readonly SharedReply[],
): Choice {
  const reply = written[index];
  if (reply === undefined) throw new RangeError("a text that was not written");
  const before = echo?.text ?? "";
  const inText = (tokens[index] ?? []).filter(({ offset }) => offset < reply.text.length);
  return {
    text: before + reply.text,
    finishReason: reply.finishReason,
    tokens:
      topLogprobs === undefined ? undefined : [...echoed(echo, reply), ...inText.map((token) => moved(token, before))],
  };
}

function streamed(engine: Engine, assignment: Assignment): Response {
  const { request, shape, signal } = assignment;
  const left = new AbortController();
  const stream = new EventStream(() => left.abort());
  const stop = leaveWith(signal, left);
  const texts = textsOf(assignment);
  const states = texts.map(({ prompt: { echo } }, index) => ({ waiting: [] as ReplyToken[], shown: 0, echo, index }));
  type State = (typeof states)[number];
  /** Tokens whose text has begun to be shown: what may still turn out to be a stop text is held back. */
  const takeTokens = (state: State): readonly ReplyToken[] | undefined => {
    if (request.topLogprobs === undefined) return undefined;
    const ready = state.waiting.filter(({ offset }) => offset < state.shown);
    state.waiting = state.waiting.slice(ready.length);
    return ready.map((token) => moved(token, state.echo?.text ?? ""));
  };
  const hooksOf = (index: number) => {
    const state = states[index];
    return {
      onText: (text: string): void => {
        if (state === undefined) return;
        state.shown += text.length;
        stream.send(shape.piece(index, text, takeTokens(state)));
      },
      onToken: (token: ReplyToken): void => void state?.waiting.push(token),
      onPrompt: (prompt: SharedReply["prompt"]): void => {
        if (state?.echo === undefined) return;
        const tokens = request.topLogprobs === undefined ? undefined : echoed(state.echo, { prompt });
        stream.send(shape.piece(index, state.echo.text, tokens));
      },
    };
  };
  let writing: readonly Promise<SharedReply>[];
  try {
    for (const { index } of states) {
      const begin = shape.begin(index);
      if (begin !== undefined) stream.send(begin);
    }
    writing = submitAll(engine, assignment, left, hooksOf);
  } catch (error) {
    left.abort();
    stop();
    stream[Symbol.dispose]();
    throw error;
  }
  const finish = async (): Promise<void> => {
    using _ = stream;
    try {
      const ends = writing.map(async (reply, index) => {
        const written = await reply;
        stream.send(shape.end(index, written.finishReason));
        return written;
      });
      const written = await Promise.all(ends);
      if (request.includeUsage) stream.send(shape.usage(usageOf(written, request.choices)));
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

/** The texts of an answer, in its order: all of the first prompt, then those of the next. */
function textsOf({ request, prompts }: Assignment): { readonly prompt: Prompt; readonly number: number }[] {
  return prompts.flatMap((prompt) => Array.from({ length: request.choices }, (_, number) => ({ prompt, number })));
}

type Hooks = Partial<Pick<Job["options"], "onText" | "onToken" | "onPrompt">>;

/** @throws ApiError as `Engine.submit`; then none of them is written */
function submitAll(
  engine: Engine,
  assignment: Assignment,
  left: AbortController,
  hooksOf: (index: number) => Hooks,
): readonly Promise<SharedReply>[] {
  const { request, client, model, context } = assignment;
  const { sampling, maxTokens, stops, topLogprobs } = request;
  const replies: Promise<SharedReply>[] = [];
  try {
    for (const [index, { prompt, number }] of textsOf(assignment).entries()) {
      const options = {
        sampling: { ...sampling, seed: sampling.seed + number },
        maxTokens,
        stops,
        topLogprobs,
        promptLogprobs: prompt.echo === undefined ? undefined : topLogprobs,
        context,
        signal: left.signal,
        ...hooksOf(index),
      };
      replies.push(engine.submit({ client, model, ids: prompt.ids, options }));
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

/** The prompt's tokens; of the first no probability is known. */
function echoed(echo: Echo | undefined, { prompt }: Pick<SharedReply, "prompt">): ShownToken[] {
  if (echo === undefined) return [];
  return prompt.map((token, at) => ({ ...token, offset: echo.offsets[at] ?? 0 }));
}

function moved(token: ReplyToken, before: string): ReplyToken {
  return { ...token, offset: token.offset + before.length };
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
