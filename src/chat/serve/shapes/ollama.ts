import type { Call } from "../../tools/formats.ts";
import type { Part } from "../../tools/message-parser.ts";
import { LINES } from "../event-stream.ts";
import type { Choice, Shape, ShapeOptions, Timings, Usage } from "./shape.ts";

/**
 * Ollama's `/api/chat` and `/api/generate`: a line of JSON for each piece, the last with how long it took. Without an answer that one comes alone.
 * @param message what a part is in a line: Ollama's two endpoints differ in that
 */
function ollamaShape({ model }: Pick<ShapeOptions, "model">, message: (part: Part) => object): Shape {
  const start = performance.now();
  const line = (part: Part, more: object): object => ({
    model,
    created_at: new Date().toISOString(),
    ...message(part),
    ...more,
  });
  const end = (choice: Choice | undefined, usage: Usage, { prefillSeconds, decodeSeconds }: Timings): object => ({
    done: true,
    done_reason: choice?.finishReason ?? "load",
    total_duration: nanoseconds((performance.now() - start) / 1000),
    load_duration: 0,
    prompt_eval_count: usage.prompt_tokens,
    prompt_eval_duration: nanoseconds(prefillSeconds),
    eval_count: usage.completion_tokens,
    eval_duration: nanoseconds(decodeSeconds),
  });
  const nothing: Part = { content: "", reasoning: "", calls: [] };
  return {
    framing: LINES,
    begin: () => [],
    piece: (_, part) => [line(part, { done: false })],
    end: () => [],
    finish: ([choice], usage, timings) => [line(nothing, end(choice, usage, timings))],
    fail: (error) => ({ error: error.message }),
    whole: ([choice], usage, timings) => line(choice ?? nothing, end(choice, usage, timings)),
  };
}

export function ollamaChatShape(options: Pick<ShapeOptions, "model">): Shape {
  return ollamaShape(options, ({ content, reasoning, calls }) => ({
    message: {
      role: "assistant",
      content,
      ...(reasoning === "" ? {} : { thinking: reasoning }),
      ...(calls.length === 0 ? {} : { tool_calls: calls.map(callOf) }),
    },
  }));
}

export function ollamaTextShape(options: Pick<ShapeOptions, "model">): Shape {
  return ollamaShape(options, ({ content, reasoning }) => ({
    response: content,
    ...(reasoning === "" ? {} : { thinking: reasoning }),
  }));
}

/** Ollama's arguments are an object. */
function callOf({ id, name, arguments: given }: Call): object {
  let value: unknown = given;
  try {
    value = JSON.parse(given);
  } catch {
    // What a model wrote as a text stays one.
  }
  return { id, function: { name, arguments: value } };
}

function nanoseconds(seconds: number): number {
  return Math.round(seconds * 1e9);
}
