import type { ChatTemplate } from "../data/text/chat-template.ts";
import type { Tokenizer } from "../data/text/tokenizer.ts";
import type { Conversation } from "./conversation.ts";
import type { AnswerFormat, BegunAnswer } from "./tools/answer-format.ts";
import { answerFormatOf } from "./tools/answer-formats.ts";

/** A conversation as the model sees it. */
export interface SessionPrompt {
  readonly ids: readonly number[];
  /** How its answer is written and read; undefined: it is text. */
  readonly answer: BegunAnswer | undefined;
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
  render({ messages, lastQuestion = "" }: Conversation): SessionPrompt {
    if (this.template === undefined) return { ids: this.#tokenizer.encode(lastQuestion), answer: undefined };
    const { text } = this.template.render({ messages, addGenerationPrompt: true, variables: this.#variables });
    const answer = this.#format?.begin(text, {});
    return { ids: this.#tokenizer.encode(text + (answer?.opening ?? ""), { special: false }), answer };
  }
}
