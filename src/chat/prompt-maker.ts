import type { ChatTemplate } from "../data/text/chat-template.ts";
import type { Tokenizer } from "../data/text/tokenizer.ts";
import { controlTokens } from "../data/text/tokenizer/added-tokens.ts";
import type { Conversation } from "./conversation.ts";
import type { AnswerFormat, BegunAnswer } from "./tools/answer-format.ts";
import { answerFormatOf } from "./tools/answer-formats.ts";
import { THINK, THOUGHT } from "./tools/message-parser.ts";

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
