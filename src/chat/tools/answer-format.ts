import type { Grammar } from "../grammar/grammar.ts";
import type { Tool } from "./grammar.ts";
import type { HarmonyParserOptions } from "./harmony-parser.ts";
import type { MessageParserOptions } from "./message-parser.ts";

/** How a model writes an answer, as its chat template shows it: what it thinks, what it says, and calls of tools. */
export interface AnswerFormat {
  /** An answer's text is read by people as it is, and by the template when it is a message of the conversation. */
  readonly isText: boolean;
  /** Calls of tools can be read. */
  readonly callsTools: boolean;
  /** The model can be told to think. */
  readonly mayThink: boolean;
  /**
   * @param prompt the conversation as the template rendered it
   * @throws RandloraError `data` for a tool's schema that would not be obeyed
   */
  begin(prompt: string, wish: AnswerWish): BegunAnswer;
}

/** Tools of a request. */
export interface CallableTools {
  /** Those that may be called. */
  readonly callable: readonly Tool[];
  /** One of them at least must be; otherwise the model decides. */
  readonly isRequired: boolean;
  /** An answer may hold several calls. */
  readonly several: boolean;
}

/** What an answer is to be. */
export interface AnswerWish {
  /** Tools that may be called, undefined: none. */
  readonly tools?: CallableTools | undefined;
  /** What is said must follow it, JSON where tools may be called; undefined: it is free. */
  readonly grammar?: Grammar | undefined;
  /** It goes on with the message that the prompt ends with. */
  readonly continues?: boolean;
  /** What the template was given. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** How an answer is written and read. */
export interface BegunAnswer {
  /** Goes behind the prompt. */
  readonly opening: string;
  /** What the answer must follow; undefined: it is free. */
  readonly grammar: Grammar | undefined;
  /** Special tokens that the grammar takes for the texts that they are. */
  readonly marks: readonly number[];
  readonly parser: AnswerParserOptions;
  /** Special tokens that are marks within the answer, and what its text has for them. */
  readonly shownTokens: ReadonlyMap<number, string>;
  /** Texts that end the answer. */
  readonly stops: readonly string[];
}

/** Plain values, which may come from another process. */
export type AnswerParserOptions = MessageParserOptions | HarmonyParserOptions;
