import { RandloraError } from "../errors.ts";
import type { ReplyToken } from "../generate/reply.ts";
import { ApiError } from "./api-error.ts";
import type { Engine, Job } from "./engine.ts";
import { EventStream } from "./event-stream.ts";
import type { GenerationRequest } from "./fields.ts";
import { type Shape, usageOf } from "./shapes.ts";

/** A request that was understood: what to write, and how to word it. */
export interface Assignment {
  readonly request: GenerationRequest;
  readonly job: Omit<Job, "options">;
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
 * Has a text written and answers with it, whole or as a stream.
 * @throws ApiError when the engine takes no more; for a whole answer also what `toApiError` makes of a failure
 */
export async function answer(engine: Engine, assignment: Assignment): Promise<Response> {
  return assignment.request.stream ? streamed(engine, assignment) : await whole(engine, assignment);
}

async function whole(engine: Engine, assignment: Assignment): Promise<Response> {
  const { request, shape } = assignment;
  const tokens: ReplyToken[] = [];
  const onToken = (token: ReplyToken): void => void tokens.push(token);
  const job = jobOf(assignment, { onToken, signal: assignment.signal });
  try {
    const reply = await engine.submit(job);
    assignment.onWritten();
    const inText = tokens.filter(({ offset }) => offset < reply.text.length);
    return Response.json(shape.whole(reply, request.topLogprobs === undefined ? undefined : inText));
  } catch (error) {
    throw toApiError(error, assignment.onFailure);
  }
}

function streamed(engine: Engine, assignment: Assignment): Response {
  const { request, shape, signal } = assignment;
  const left = new AbortController();
  const stream = new EventStream(() => left.abort());
  signal.addEventListener("abort", () => left.abort(), { once: true });
  let waiting: ReplyToken[] = [];
  let shown = 0;
  /** Tokens whose text has begun to be shown: what may still turn out to be a stop text is held back. */
  const takeTokens = (): readonly ReplyToken[] | undefined => {
    if (request.topLogprobs === undefined) return undefined;
    const ready = waiting.filter(({ offset }) => offset < shown);
    waiting = waiting.slice(ready.length);
    return ready;
  };
  const onText = (text: string): void => {
    shown += text.length;
    stream.send(shape.piece(text, takeTokens()));
  };
  const onToken = (token: ReplyToken): void => void waiting.push(token);
  const begin = shape.begin();
  if (begin !== undefined) stream.send(begin);
  let writing;
  try {
    writing = engine.submit(jobOf(assignment, { onText, onToken, signal: left.signal }));
  } catch (error) {
    stream[Symbol.dispose]();
    throw error;
  }
  const finish = async (): Promise<void> => {
    using _ = stream;
    try {
      const reply = await writing;
      stream.send(shape.end(reply.finishReason));
      if (request.includeUsage) stream.send(shape.usage(usageOf(reply)));
      stream.done();
    } catch (error) {
      // The status has been sent: an event with an error is how OpenAI's API says it.
      stream.send(toApiError(error, assignment.onFailure).toJSON());
    } finally {
      assignment.onWritten();
    }
  };
  void finish();
  return stream.response();
}

function jobOf(
  { request, job, context }: Assignment,
  hooks: Pick<Job["options"], "onText" | "onToken" | "signal">,
): Job {
  const { sampling, maxTokens, stops, topLogprobs } = request;
  return { ...job, options: { sampling, maxTokens, stops, topLogprobs, context, ...hooks } };
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
