import { RandloraError } from "../files/errors.ts";
import { oneLine } from "../files/failure.ts";
import { inBlocks } from "../models/decoder/cache/layer-cache.ts";
import { laterSeed } from "../compute/random/seed.ts";
import type { ChatMessage, ChatTemplate } from "../data/text/chat-template.ts";
import { readText } from "../files/read-text.ts";
import { type AnswerListeners, PromptMaker, SessionAnswer, type SessionPrompt } from "./prompt-maker.ts";
import { Conversation, loadConversation, saveConversation } from "./conversation.ts";
import { DecodeLoop } from "./generation/decode-loop.ts";
import { fittingPositions } from "./generation/fitting-context.ts";
import { type Reply, type ReplyPiece, replySequence, type Writer, writeReply } from "./generation/reply.ts";
import { endOf } from "./generation/sequence.ts";
import type { SamplingOptions } from "./generation/sampling.ts";

/** How a session's answers are made; may be changed between two of them. */
export interface SessionSettings {
  /** The seed is that of the first answer after it was set; every further answer has the next one (see {@link laterSeed}). */
  sampling: SamplingOptions;
  maxTokens: number | undefined;
  /** Above 1: the best text of a search with so many beams, whatever the sampling says; it is shown when it is found. */
  beams?: number | undefined;
  stops: readonly string[];
  /** Positions that may be used; undefined: the model's own. */
  context: number | undefined;
  /** At the context's end forget the oldest, instead of ending. */
  shift: boolean;
}

export interface SessionOptions extends SessionSettings {
  /** Undefined: every message is continued as it stands, with the tokenizer's own special tokens (`--raw`). */
  readonly template: ChatTemplate | undefined;
  readonly templateVariables?: Readonly<Record<string, unknown>> | undefined;
  readonly system?: string | undefined;
}

/** What an answer is given besides the message. */
export interface AnswerOptions extends AnswerListeners {
  /** Ends the answer at the next token, or between two pieces of the prompt; what there is is kept. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A chat: what was said so far, and a model that answers. The rendered conversation decides what the model sees; tokens
 * that were computed for the turn before are reused as far as the two agree.
 */
export class Session implements Disposable {
  readonly settings: SessionSettings;
  readonly #writer: Writer;
  readonly #prompts: PromptMaker;
  readonly #conversation: Conversation;
  /** Decodes for so many beams; it is made with the first answer. */
  #decoding: { readonly beams: number; readonly loop: DecodeLoop } | undefined;
  #attached: string[] = [];
  /** The settings' seed at the last answer, and the answers since it was set. */
  #seed: number | undefined;
  #answers = 0;

  constructor(writer: Writer, { template, templateVariables, system, ...settings }: SessionOptions) {
    this.#writer = writer;
    this.#prompts = new PromptMaker(writer.tokenizer, template, templateVariables);
    this.settings = settings;
    this.#conversation = new Conversation(system);
  }

  get messages(): readonly ChatMessage[] {
    return this.#conversation.messages;
  }

  /** Whether messages are continued as they stand. */
  get raw(): boolean {
    return this.#prompts.template === undefined;
  }

  get system(): string | undefined {
    return this.#conversation.system;
  }

  /** Changes the system message; what was said stays. */
  set system(text: string | undefined) {
    if (this.raw && text !== undefined && text !== "") throw noTemplate("a system message");
    this.#conversation.system = text;
  }

  /** Positions that may be used. */
  get context(): number {
    return this.settings.context ?? this.#writer.decoder.config.contextLength;
  }

  /**
   * Answers a message. Where that fails, or is cancelled before the first word, nothing was said.
   * @throws RandloraError `data` for a conversation that no longer fits the context, or that the template refuses
   */
  async say(message: string, options: AnswerOptions = {}): Promise<Reply> {
    const reply = await this.#answered([...this.#attached, message].join("\n\n"), options);
    if (!isNothing(reply)) this.#attached = [];
    return reply;
  }

  /** Answers the last message anew, with the next seed; undefined where nothing was said. */
  async retry(options: AnswerOptions = {}): Promise<Reply | undefined> {
    const before = this.#copy();
    const question = this.undo();
    // Who changes their mind keeps the answer that they had.
    return question === undefined ? undefined : await this.#answered(question, options, before);
  }

  /** Takes the last message and its answer back. @returns the message; undefined where nothing was said */
  undo(): string | undefined {
    return this.#conversation.undo();
  }

  /** Forgets what was said; the system message stays. */
  reset(): void {
    this.#conversation.reset();
    this.#attached = [];
  }

  /**
   * Reads a text file that goes before the next message.
   * @returns its tokens
   * @throws the signal's reason when it is aborted; RandloraError `file`; `data` for one that is no text, or leaves a message no room in the context
   */
  async attach(path: string, signal?: AbortSignal): Promise<number> {
    const text = await readText(path);
    const attached = [...this.#attached, text.trimEnd()];
    const asked = this.#copy();
    asked.add({ role: "user", content: attached.join("\n\n") });
    try {
      await this.#fitting(asked);
    } catch (thrown) {
      if (!(thrown instanceof RandloraError)) throw thrown;
      const cause = `${oneLine(path)} is not read: with it ${thrown.message}`;
      throw new RandloraError(thrown.code, cause, `read a shorter file; ${thrown.hint}`, { cause: thrown });
    }
    signal?.throwIfAborted();
    this.#attached = attached;
    return this.#writer.tokenizer.encode(text, { special: false }).length;
  }

  /** Writes the conversation to a file. @returns whether it replaced one that was saved there. @throws RandloraError `file` */
  async save(path: string): Promise<boolean> {
    return await saveConversation(path, this.#conversation);
  }

  /** Goes on with a saved conversation. @returns its messages. @throws RandloraError `file`, `format` */
  async load(path: string): Promise<number> {
    const loaded = await loadConversation(path);
    if (this.raw) throw noTemplate("a saved conversation");
    this.#conversation.replaceBy(loaded);
    return loaded.messages.length;
  }

  /** Says that the model's weights have changed: nothing that was computed counts any more. */
  weightsChanged(): void {
    this.#decoding?.loop.weightsChanged();
  }

  [Symbol.dispose](): void {
    this.#decoding?.loop[Symbol.dispose]();
  }

  #copy(): Conversation {
    const copy = new Conversation();
    copy.replaceBy(this.#conversation);
    return copy;
  }

  /** Answers a question. @param before how things are where nothing comes of it */
  async #answered(question: string, { signal, ...listeners }: AnswerOptions, before = this.#copy()): Promise<Reply> {
    const conversation = this.#conversation;
    conversation.add({ role: "user", content: question });
    let said: ChatMessage | undefined;
    try {
      const asked = await this.#fitting(conversation);
      const answer = new SessionAnswer(asked, listeners);
      const written = await endOf(await this.#write(asked, signal), ({ text }) => answer.push(text));
      answer.end();
      const reply = { ...written, text: answer.text };
      if (!isNothing(reply)) said = answer.message;
      return reply;
    } finally {
      if (said === undefined) conversation.replaceBy(before);
      else conversation.add(said);
    }
  }

  async #write(
    { ids, answer }: SessionPrompt,
    signal: AbortSignal | undefined,
  ): Promise<AsyncGenerator<ReplyPiece, Reply>> {
    const { sampling, maxTokens, beams = 1, stops, shift } = this.settings;
    const loop = await this.#loop(beams);
    const options = { maxTokens, stops, context: this.context, signal, shownTokens: answer?.shownTokens };
    // A seed that was given anew is the next answer's.
    if (sampling.seed !== this.#seed) this.#answers = 0;
    this.#seed = sampling.seed;
    const seed = laterSeed(sampling.seed, beams > 1 ? 0 : this.#answers++);
    const asked = { ...options, beams, shift, sampling: { ...sampling, seed } };
    return writeReply(this.#writer, ids, asked, loop.write(replySequence(this.#writer, ids, asked)));
  }

  async #loop(beams: number): Promise<DecodeLoop> {
    if (this.#decoding?.beams === beams) return this.#decoding.loop;
    this.#decoding?.loop[Symbol.dispose]();
    this.#decoding = undefined;
    const { decoder } = this.#writer;
    const { positions } = await fittingPositions(decoder, beams);
    const wanted = beams * inBlocks(this.context);
    const loop = new DecodeLoop(decoder, { rows: beams, positions: Math.min(wanted, positions), keepsAnswers: true });
    this.#decoding = { beams, loop };
    return loop;
  }

  /** The prompt; under `shift` without the oldest turns, as far as they do not fit. */
  async #fitting(conversation: Conversation): Promise<SessionPrompt> {
    const asked = await this.#prompts.render(conversation);
    if (asked.ids.length < this.context) return asked;
    let shorter = this.settings.shift && !this.raw ? conversation.withoutOldest() : undefined;
    while (shorter !== undefined) {
      const fewer = await this.#prompts.render(shorter);
      if (fewer.ids.length < this.context) return fewer;
      shorter = shorter.withoutOldest();
    }
    throw contextFull(asked.ids.length, this.context, conversation.length > 1 && !this.raw);
  }
}

/** Was it cancelled before its first word? */
function isNothing({ finishReason, text }: Reply): boolean {
  return finishReason === "cancelled" && text === "";
}

function contextFull(tokens: number, context: number, isLong: boolean): RandloraError {
  const what = isLong ? "the conversation" : "the prompt";
  const message = `${what} has ${tokens} tokens, and the context ends at ${context}`;
  const hint = isLong
    ? "/reset begins anew, /undo takes the last message back; with --shift the oldest ones are forgotten"
    : "shorten the prompt, or raise --context if the model allows";
  return new RandloraError("data", message, hint);
}

/** Something needs a chat template, and there is none. */
export function noTemplate(what: string): RandloraError {
  return new RandloraError("usage", `${what} needs a chat template, and there is none`, "give --chat-template FILE");
}
