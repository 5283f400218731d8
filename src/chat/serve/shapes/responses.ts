import type { FinishReason } from "../../generation/next-token.ts";
import type { Call } from "../../tools/formats.ts";
import type { Part } from "../../tools/message-parser.ts";
import { NAMED_EVENTS } from "../event-stream.ts";
import { identity, newId, type Choice, type Shape, type ShapeOptions, type Usage } from "./shape.ts";

/** An item of a response's output. */
type Item = Readonly<Record<string, unknown>> & { readonly id: string };

/** `/v1/responses`: one answer as a list of items, whole or as named events. Nothing is stored. */
export function responseShape({ model, said }: Pick<ShapeOptions, "model" | "said">): Shape {
  const { id, created } = identity("resp_");
  const response = (status: string, output: readonly object[], usage: Usage | null, more: object = {}): object => ({
    id,
    object: "response",
    created_at: created,
    status,
    error: null,
    incomplete_details: null,
    model,
    output,
    parallel_tool_calls: true,
    store: false,
    tool_choice: "auto",
    tools: [],
    ...said,
    usage: usage === null ? null : responseUsage(usage),
    ...more,
  });
  const events = new ResponseEvents();
  const ended = ({ finishReason }: Choice, output: readonly object[], usage: Usage): object =>
    finishReason === "length"
      ? response("incomplete", output, usage, { incomplete_details: { reason: "max_output_tokens" } })
      : response("completed", output, usage);
  return {
    framing: NAMED_EVENTS,
    begin: () => [
      events.event("response.created", { response: response("in_progress", [], null) }),
      events.event("response.in_progress", { response: response("in_progress", [], null) }),
    ],
    piece: (_, part) => events.part(part),
    end: (_, { finishReason }) => events.close(finishReason),
    finish: ([choice], usage) => {
      if (choice === undefined) return [];
      const done = ended(choice, events.items, usage);
      const name = choice.finishReason === "length" ? "response.incomplete" : "response.completed";
      return [events.event(name, { response: done })];
    },
    fail: (error) => {
      const { message, code } = error.toJSON().error;
      return events.event("error", { code, message, param: null });
    },
    whole: ([choice], usage) => {
      if (choice === undefined) return response("failed", [], usage);
      for (const part of choice.parts) events.part(part);
      events.close(choice.finishReason);
      return ended(choice, events.items, usage);
    },
  };
}

/** Makes events of the parts of an answer, and its items. */
class ResponseEvents {
  readonly items: Item[] = [];
  #number = 0;
  /** The text item that is being written. */
  #open: { readonly kind: "message" | "reasoning"; readonly id: string; text: string } | undefined;

  event(type: string, data: object): object {
    return { type, sequence_number: this.#number++, ...data };
  }

  part({ reasoning, content, calls }: Part): object[] {
    return [
      ...this.#text("reasoning", reasoning),
      ...this.#text("message", content),
      ...(calls.length === 0 ? [] : this.close()),
      ...calls.flatMap((call) => this.#call(call)),
    ];
  }

  /** Ends the item that is being written. @param why the answer has ended with it */
  close(why?: FinishReason): object[] {
    const open = this.#open;
    if (open === undefined) return [];
    this.#open = undefined;
    const { kind, id, text } = open;
    const item = textItem(kind, id, text, why === "length" ? "incomplete" : "completed");
    const at = { item_id: id, output_index: this.items.length, content_index: 0 };
    this.items.push(item);
    const name = kind === "message" ? "output_text" : "reasoning_text";
    return [
      this.event(`response.${name}.done`, { ...at, text, ...(kind === "message" ? { logprobs: [] } : {}) }),
      this.event("response.content_part.done", { ...at, part: textPart(kind, text) }),
      this.event("response.output_item.done", { output_index: at.output_index, item }),
    ];
  }

  #text(kind: "message" | "reasoning", delta: string): object[] {
    if (delta === "") return [];
    const events = this.#open?.kind === kind ? [] : this.#begin(kind);
    const open = this.#open;
    if (open === undefined) return events;
    open.text += delta;
    const at = { item_id: open.id, output_index: this.items.length, content_index: 0 };
    const name = kind === "message" ? "output_text" : "reasoning_text";
    return [
      ...events,
      this.event(`response.${name}.delta`, { ...at, delta, ...(kind === "message" ? { logprobs: [] } : {}) }),
    ];
  }

  #begin(kind: "message" | "reasoning"): object[] {
    const events = this.close();
    const id = newId(kind === "message" ? "msg_" : "rs_");
    this.#open = { kind, id, text: "" };
    const at = { item_id: id, output_index: this.items.length, content_index: 0 };
    const item = { ...textItem(kind, id, "", "in_progress"), content: [] };
    return [
      ...events,
      this.event("response.output_item.added", { output_index: at.output_index, item }),
      this.event("response.content_part.added", { ...at, part: textPart(kind, "") }),
    ];
  }

  #call({ id: callId, name, arguments: given }: Call): object[] {
    const id = newId("fc_");
    const at = { item_id: id, output_index: this.items.length };
    const call = { id, type: "function_call", call_id: callId, name };
    const item = { ...call, arguments: given, status: "completed" };
    this.items.push(item);
    return [
      this.event("response.output_item.added", {
        output_index: at.output_index,
        item: { ...call, arguments: "", status: "in_progress" },
      }),
      this.event("response.function_call_arguments.delta", { ...at, delta: given }),
      this.event("response.function_call_arguments.done", { ...at, name, arguments: given }),
      this.event("response.output_item.done", { output_index: at.output_index, item }),
    ];
  }
}

function textItem(kind: "message" | "reasoning", id: string, text: string, status: string): Item {
  const content = [textPart(kind, text)];
  if (kind === "reasoning") return { id, type: "reasoning", summary: [], content, status };
  return { id, type: "message", role: "assistant", status, content };
}

function textPart(kind: "message" | "reasoning", text: string): object {
  return kind === "reasoning"
    ? { type: "reasoning_text", text }
    : { type: "output_text", text, annotations: [], logprobs: [] };
}

function responseUsage({ prompt_tokens, completion_tokens, total_tokens, ...details }: Usage): object {
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: { cached_tokens: details.prompt_tokens_details.cached_tokens },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: details.completion_tokens_details.reasoning_tokens },
    total_tokens,
  };
}
