import type { ChatMessage, ChatTemplate } from "../data/text/chat-template.ts";
import type { Tokenizer } from "../data/text/tokenizer.ts";
import { controlTokens } from "../data/text/tokenizer/added-tokens.ts";
import type { Conversation } from "./conversation.ts";
import type { AnswerFormat, BegunAnswer } from "./tools/answer-format.ts";
import { answerFormatOf, answerParser } from "./tools/answer-formats.ts";
import { type AnswerParser, type Part, THINK, THOUGHT } from "./tools/message-parser.ts";

/** A conversation as the model sees it. */
export interface SessionPrompt {
  readonly ids: readonly number[];
  /** How its answer is written and read; undefined: it is text. */
  readonly answer: BegunAnswer | undefined;
  /** The answer's text, marks included, is what people read and templates take. */
  readonly isText: boolean;
}

/** Makes prompts of a conversation. */
export class PromptMaker {
  readonly template: ChatTemplate | undefined;
  readonly #tokenizer: Tokenizer;
  readonly #variables: Readonly<Record<string, unknown>>;
  readonly #format: AnswerFormat | undefined;

  /** @param template undefined: the last message is continued as it stands */
  constructor(
    tokenizer: Tokenizer,
    template: ChatTemplate | undefined,
    variables: Readonly<Record<string, unknown>> = {},
  ) {
    this.template = template;
    this.#tokenizer = tokenizer;
    this.#variables = variables;
    this.#format = template && answerFormatOf(template.source, tokenizer);
  }

  /** @throws RandloraError `data` where the template refuses the messages */
  async render({ messages, lastQuestion = "" }: Conversation): Promise<SessionPrompt> {
    const [tokenizer, format, variables] = [this.#tokenizer, this.#format, this.#variables];
    if (this.template === undefined || format === undefined) {
      return { ids: tokenizer.encode(lastQuestion), answer: undefined, isText: true };
    }
    // Those around what was thought stand in the messages themselves.
    const tokens = controlTokens(tokenizer.addedTokens, [THINK, THOUGHT]);
    const input = { messages, addGenerationPrompt: true, variables, controlTokens: tokens };
    const { text, plain } = this.template.render(input);
    const answer = format.begin(text, { variables });
    const ids = await tokenizer.encodeWithin(text + answer.opening, Infinity, { special: false, plain });
    return { ids: ids ?? [], answer, isText: format.isText };
  }
}

/** Who is told of an answer as it becomes final. */
export interface AnswerListeners {
  /** Gets the text; the pieces add up to the reply's. */
  readonly onText?: ((text: string) => void) | undefined;
  /** Gets the same taken apart: what was thought and what is said. */
  readonly onPart?: ((part: Part) => void) | undefined;
}

/** An answer of a session as it comes: in parts, as one text, and as a message of the conversation. */
export class SessionAnswer {
  readonly #listeners: AnswerListeners;
  readonly #parser: AnswerParser | undefined;
  readonly #isText: boolean;
  #text = "";
  #content = "";
  #reasoning = "";
  #isThinking = false;

  constructor({ answer, isText }: SessionPrompt, listeners: AnswerListeners) {
    this.#listeners = listeners;
    this.#parser = answer && answerParser(answer.parser);
    this.#isText = isText;
  }

  /** All of it as a text: where its marks are none, reasoning stands between those that most models write. */
  get text(): string {
    return this.#text;
  }

  /** As the template takes it: the marks of its format are the template's to write, others it looks for itself. */
  get message(): ChatMessage {
    if (this.#isText) return { role: "assistant", content: this.#text };
    const thought = this.#reasoning === "" ? {} : { reasoning_content: this.#reasoning };
    return { role: "assistant", content: this.#content, ...thought };
  }

  /** @param text that follows, with the marks of its format */
  push(text: string): void {
    if (text !== "") this.#add(this.#parser?.push(text) ?? { content: text, reasoning: "", calls: [] }, text);
  }

  /** Nothing more comes. */
  end(): void {
    if (this.#parser !== undefined) this.#add(this.#parser.end(), "");
  }

  #add(part: Part, text: string): void {
    const shown = this.#isText ? text : this.#shown(part);
    this.#text += shown;
    this.#content += part.content;
    this.#reasoning += part.reasoning;
    if (shown !== "") this.#listeners.onText?.(shown);
    this.#listeners.onPart?.(part);
  }

  #shown({ reasoning, content }: Part): string {
    let text = "";
    if (reasoning !== "" && !this.#isThinking) text += `${this.#text === "" ? "" : "\n\n"}${THINK}\n`;
    this.#isThinking ||= reasoning !== "";
    text += reasoning;
    if (content !== "" && this.#isThinking) text += `\n${THOUGHT}\n\n`;
    this.#isThinking &&= content === "";
    return text + content;
  }
}
