import { CHAT_OPTIONS } from "../chat/options.ts";
import type { ReplyReport } from "../chat/reply-report.ts";
import type { ChatMessage } from "../data/text/chat-template.ts";
import { RandloraError } from "../files/errors.ts";
import { quietContext } from "./context.ts";
import { type Given, needText, settledOptions } from "./options.ts";
import type { Surroundings } from "./surroundings.ts";

const { prompt: _, ...OPTIONS } = CHAT_OPTIONS;

/** What {@link openChat} takes: the options of `randlora chat`, in camelCase. */
export interface OpenChatRequest extends Given<typeof OPTIONS>, Surroundings {
  /** A folder, a run, `org/name` on the Hub, or `embedded`. */
  readonly model: string;
}

export interface ChatRequest extends OpenChatRequest {
  /** The message that is answered. */
  readonly prompt: string;
}

/** The text of an answer as it is written; at its end what `chat --json` reports of it. */
export type Answer = AsyncGenerator<string, ReplyReport, undefined>;

/** A loaded model and what was said. Disposing of it gives back the memory and the device. */
export interface Chat extends AsyncDisposable {
  readonly messages: readonly ChatMessage[];
  /**
   * Answers a message; one at a time. An aborted signal, and leaving the loop, end the answer where it is: what was written counts as said.
   * @throws RandloraError `data` where the conversation no longer fits the context; `usage` while another answer is written
   */
  say(message: string, options?: { readonly signal?: AbortSignal | undefined }): Answer;
  /** Forgets what was said; the system message stays. */
  reset(): void;
}

/** Why a message is not answered, and what to do. */
const REFUSALS = {
  answering: { cause: "another answer is being written", hint: "read it to its end, or leave its loop" },
  closed: { cause: "the model was given back", hint: "open it again: openChat" },
} as const;

/** Loads a model that answers messages. @throws RandloraError; the signal's reason */
export async function openChat(request: OpenChatRequest): Promise<Chat> {
  const { model, device, threads, signal, onProgress, onNote, ...given } = request;
  const options = settledOptions(OPTIONS, given);
  const { chooseFormat, openChat: open } = await import("../chat/open-chat.ts");
  const { replyJson } = await import("../chat/reply-json.ts");
  const context = quietContext({ device, threads, signal, onProgress, onNote });
  const opened = await open(await chooseFormat(needText("model", model), options), options, context);
  const { session, loadSeconds } = opened;
  let state: keyof typeof REFUSALS | undefined;
  return {
    get messages() {
      return session.messages;
    },
    async *say(message, { signal: own } = {}) {
      const text = needText("message", message);
      if (state !== undefined) throw new RandloraError("usage", REFUSALS[state].cause, REFUSALS[state].hint);
      const signals = [context.signal, ...(own === undefined ? [] : [own])];
      state = "answering";
      try {
        const reply = yield* pieces((onText, stop) =>
          session.say(text, { onText, signal: AbortSignal.any([...signals, stop]) }),
        );
        return replyJson(reply, loadSeconds);
      } finally {
        if (state === "answering") state = undefined;
      }
    },
    reset: () => session.reset(),
    async [Symbol.asyncDispose]() {
      state = "closed";
      await opened[Symbol.asyncDispose]();
    },
  };
}

/** Answers one message, and gives the model back. @throws RandloraError; the signal's reason while the model is loaded */
export async function* chat({ prompt, ...request }: ChatRequest): Answer {
  const message = needText("prompt", prompt);
  await using opened = await openChat(request);
  return yield* opened.say(message);
}

/** Texts that are handed out, in the order in which they come. @param work is stopped where nobody takes them any more */
async function* pieces<T>(
  work: (onText: (text: string) => void, stop: AbortSignal) => Promise<T>,
): AsyncGenerator<string, T, undefined> {
  const stop = new AbortController();
  const waiting: string[] = [];
  let wake = () => {};
  let isDone = false;
  const onText = (text: string) => {
    waiting.push(text);
    wake();
  };
  const result = work(onText, stop.signal).finally(() => {
    isDone = true;
    wake();
  });
  result.catch(() => {}); // thrown where it is awaited
  try {
    for (;;) {
      const text = waiting.shift();
      if (text !== undefined) yield text;
      else if (isDone) return await result;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    stop.abort();
    await result.catch(() => {});
  }
}
