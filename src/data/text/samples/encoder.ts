import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { ChatTemplate } from "../chat-template.ts";
import { type PromptName, trainingPrompt } from "../commonsense-prompt.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { dateOf, USUAL_DATE } from "./date.ts";
import { AssistantTurns } from "./assistant-turns.ts";
import type { Recognized } from "./kinds.ts";
import type { TrainingMessage } from "./messages.ts";
import type { EncodedSample } from "./store.ts";

/** What turns samples into tokens. */
export interface EncoderOptions {
  readonly tokenizer: Tokenizer;
  /** Undefined for a model without one: chats are refused, instructions become completions. */
  readonly template: ChatTemplate | undefined;
  /** The id that ends a text or a completion (`readEndOfSequence`); undefined: nothing is appended. */
  readonly endOfSequence: number | undefined;
  /** Rows of the model's embedding: a token beyond them is an error. */
  readonly vocabularySize: number;
  /** `--prompt`: how instructions are written out, which the loss then covers whole; all samples must be some. */
  readonly prompt?: PromptName | undefined;
  /** `--train-on-prompt`: all tokens but the first are supervised, and those of turns whose weight is 0. */
  readonly trainOnPrompt?: boolean;
  /** The date that chat templates are told which write one; {@link USUAL_DATE} by default. */
  readonly now?: Date;
}

interface MarkedSample extends EncodedSample {
  readonly ids: number[];
  /** What not even `--train-on-prompt` trains on: turns of weight 0. */
  readonly excluded?: ArrayLike<number> | undefined;
}

/**
 * Turns samples into token ids and marks of what is supervised.
 *
 * - text: its tokens with the tokenizer's special tokens, then end-of-sequence unless they end with it; all are supervised.
 * - completion: prompt and completion as one text, as what is asked later continues the prompt (TRL's
 *   trainer/sft_trainer.py, tokenize_fn); every token that holds a part of the completion is supervised, and the end.
 * - chat: rendered by the chat template, tokenized without special tokens, nothing appended; the assistant's turns are
 *   supervised: every token that holds a part of one. A turn of weight 0 is not.
 * - instruction: a chat of two turns; a completion where the model has no template. With a prompt: the text that it makes
 *   of it, with special tokens, and end-of-sequence unless the tokenizer ends texts with it; all are supervised.
 */
export class SampleEncoder {
  readonly #options: EncoderOptions;
  #turns: AssistantTurns | undefined;
  /** Those of conversations with tools: the template may be another one, or fail without any. */
  #toolTurns: AssistantTurns | undefined;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  /** @throws {RandloraError} `data` for a chat that has no template or is refused by it, and for ids beyond the model's */
  encode(sample: Recognized): EncodedSample {
    const { ids, supervised, excluded, format } = this.#encode(sample);
    this.#checkIds(ids);
    if (this.#options.trainOnPrompt !== true) return { ids, supervised, format };
    return { ids, supervised: Uint8Array.from(ids, (_, at) => (excluded?.[at] === 1 ? 0 : 1)), format };
  }

  #encode(sample: Recognized): MarkedSample {
    if (this.#options.prompt !== undefined) return this.#encodeRendered(sample, this.#options.prompt);
    switch (sample.kind) {
      case "text":
        return this.#encodeText(this.#options.tokenizer.encode(sample.text));
      case "completion":
        return this.#encodePrompted(sample.prompt, sample.completion);
      case "chat":
        return this.#encodeChat(this.#withoutPrompt(sample.messages, sample.prompt), sample.tools);
      case "instruction": {
        const { instruction, input, output } = sample;
        const request = input === "" ? instruction : `${instruction}\n\n${input}`;
        if (this.#options.template === undefined) return this.#encodePrompted(request, output);
        const messages = [
          { role: "user", content: request },
          { role: "assistant", content: output },
        ];
        return this.#encodeChat(messages, undefined);
      }
    }
  }

  #encodeRendered(sample: Recognized, prompt: PromptName): MarkedSample {
    if (sample.kind !== "instruction") {
      const cause = `--prompt ${prompt} writes out {instruction, input, output}, and this is another kind of sample`;
      throw new RandloraError("data", cause, "leave --prompt out, or give other data");
    }
    return this.#encodeText(this.#options.tokenizer.encode(trainingPrompt(sample)));
  }

  #encodeText(ids: readonly number[]): MarkedSample {
    return {
      ...this.#ended(
        ids,
        Array.from(ids, () => 1),
      ),
      format: "text",
    };
  }

  #encodePrompted(prompt: string, completion: string): MarkedSample {
    const text = prompt.toWellFormed() + completion.toWellFormed();
    const span = { start: prompt.length, end: text.length };
    const { ids, marks } = this.#options.tokenizer.encodeMarked(text, [span], { special: true });
    return { ...this.#ended(ids, marks), format: "completion" };
  }

  /** Ends with end-of-sequence, once, where the model has one; it is supervised. */
  #ended(ids: readonly number[], marks: readonly number[]): Pick<MarkedSample, "ids" | "supervised"> {
    const { endOfSequence } = this.#options;
    if (endOfSequence === undefined) return { ids: [...ids], supervised: Uint8Array.from(marks) };
    const text = ids.at(-1) === endOfSequence ? ids.slice(0, -1) : ids;
    return { ids: [...text, endOfSequence], supervised: Uint8Array.from([...marks.slice(0, text.length), 1]) };
  }

  #turnsOf(template: ChatTemplate, tools: readonly unknown[] | undefined): AssistantTurns {
    const { tokenizer, now = dateOf(USUAL_DATE) } = this.#options;
    return new AssistantTurns(template.for(tools), tokenizer.addedTokens, now, tools);
  }

  /** The assistant's turns of a prompt are not trained on, unless prompts are. */
  #withoutPrompt(messages: readonly TrainingMessage[], prompt = 0): readonly TrainingMessage[] {
    if (this.#options.trainOnPrompt === true) return messages;
    return messages.map((message, i) => (i < prompt ? { ...message, weight: 0 } : message));
  }

  #encodeChat(messages: readonly TrainingMessage[], tools: readonly unknown[] | undefined): MarkedSample {
    const { tokenizer, template } = this.#options;
    if (template === undefined) {
      throw new RandloraError(
        "data",
        '"messages" need a chat template, and the model has none',
        "give samples with text, or with prompt and completion",
      );
    }
    const turns =
      tools === undefined
        ? (this.#turns ??= this.#turnsOf(template, tools))
        : (this.#toolTurns ??= this.#turnsOf(template, tools));
    const { text, spans, unweighted } = turns.render({ messages, ...(tools === undefined ? {} : { tools }) });
    const { ids, marks } = tokenizer.encodeMarked(text, spans);
    const excluded = unweighted.length === 0 ? undefined : tokenizer.encodeMarked(text, unweighted).marks;
    return { ids, supervised: marks, excluded, format: "chat" };
  }

  #checkIds(ids: readonly number[]): void {
    const { tokenizer, vocabularySize } = this.#options;
    const wrong = ids.find((id) => id >= vocabularySize);
    if (wrong === undefined) return;
    throw new RandloraError(
      "data",
      `token ${wrong} (${quote(tokenizer.idToToken(wrong) ?? "")}) is beyond the model's vocabulary of ${vocabularySize}`,
      "the tokenizer has tokens that the model was not trained with: take the model's own tokenizer, or other data",
    );
  }
}
